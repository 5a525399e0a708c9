"""A disk that is full from any write on, and a kill in any write, leave nothing half-written."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.studies import fault_table
from tests import faults, small_run

needs_compiler = pytest.mark.skipif(faults.COMPILER is None, reason="no C compiler for the shim")
QUICK = {"predict --copy-to": fault_table.CUT, "benchmark": fault_table.FULL}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    fault_table.prepare(folder, slow=False)
    return folder


def check(base: Path, name: str, fault: str, places: int) -> None:
    (case,) = (case for case in fault_table.cases(base) if case.name == name)
    row = fault_table.measure(case, fault, base, places, random.Random(0))
    assert row.tried == min(places, row.writes)
    assert (row.tracebacks, row.half, row.mixed) == (0, 0, 0)
    assert row.repeated == row.tried
    if fault == fault_table.FULL:
        assert row.one_line + row.went_on == row.tried
        assert row.one_line > 0


@needs_compiler
@pytest.mark.parametrize("name", QUICK)
def test_a_command_and_its_worst_fault(base: Path, name: str) -> None:
    check(base, name, QUICK[name], 2)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("fault", [fault_table.FULL, fault_table.CUT, fault_table.RANDOM])
@pytest.mark.parametrize(
    "name",
    [
        "predict --copy-to",
        "camera --jsonl --record",
        "benchmark",
        "data check --report",
        "data split",
    ],
)
def test_every_command_of_the_device(base: Path, name: str, fault: str) -> None:
    check(base, name, fault, 6)


@needs_compiler
@pytest.mark.slow
def test_a_full_disk_under_the_cache_does_not_end_a_training(
    tiny_weights: Path, small_photographs: Path, tmp_path: Path
) -> None:
    words = small_run.command(
        *("train", small_photographs, "--weights", tiny_weights, "--out", tmp_path / "run"),
        *small_run.options("head.epochs=1", "second_head.epochs=1", "fine_tune.epochs=1"),
    )
    cache = tmp_path / "cache"
    cache.mkdir()
    done, writes = faults.run(words, cache, at=1, environment=fault_table.environment(cache))
    assert done.returncode == 0, done.stderr
    assert writes > 1  # images, and features
    assert done.stderr.count("going on without the cache") == 2
    assert "LMEDGE_CACHE" in done.stderr
    assert list(cache.rglob("*.*")) == []
    assert (tmp_path / "run" / "weights.safetensors").exists()


@needs_compiler
def test_the_shim_fails_every_write_from_a_number_on(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "for number in range(6):\n"
        "    try: pathlib.Path(sys.argv[1], str(number)).write_text('x'); print(number)\n"
        "    except OSError as error: print(error.strerror)"
    )
    words = ["python3", "-c", code, str(tmp_path)]
    done, writes = faults.run(words, tmp_path)
    assert (done.stdout.split(), writes) == (list("012345"), 12)  # each is opened and written
    done, _ = faults.run(words, tmp_path, at=6)
    assert done.stdout.splitlines() == ["0", "1"] + ["No space left on device"] * 4
    done, _ = faults.run(words, tmp_path / "elsewhere", at=1)
    assert done.stdout.split() == list("012345")
    done, _ = faults.run(words, tmp_path, at=6, kill=True)
    assert done.returncode == -9
