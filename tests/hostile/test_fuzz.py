"""The fuzzer of the reader: it reaches what the checksums hide, and what it must find ends it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="no limits of processes there")

from tests.hostile import fuzz, reading
from tests.hostile.files import joined, parts
from tests.hostile.fuzz import SEEDS
from tests.locations import ROOT

LONGEST = 16 * 1024
RUNS = 4_000
SEED = sorted(SEEDS.glob("*.tflite"))


def flip(data: bytes, longest: int) -> bytes:
    return data[: len(data) // 2] + b"\x07" + data[len(data) // 2 + 1 : longest]


def test_each_seed_is_a_good_file(tmp_path: Path) -> None:
    assert SEED
    for path in SEED:
        assert reading.read(path.read_bytes(), tmp_path / "a.tflite")


def test_it_begins_with_the_seeds_and_mutations_of_them(tmp_path: Path) -> None:
    fuzz.fill(tmp_path / "found")
    names = [path.name for path in (tmp_path / "found").iterdir()]
    assert {path.name for path in SEED} <= set(names)
    assert len(names) > len(SEED) + fuzz.MUTATIONS


def test_changes_reach_behind_the_checksums(tmp_path: Path) -> None:
    good = SEED[0].read_bytes()
    found = [reading.changed(good, LONGEST, seed, flip) for seed in range(40)]
    assert found == [reading.changed(good, LONGEST, seed, flip) for seed in range(40)]
    assert all(data != good and len(data) <= LONGEST for data in found)
    accepted = [reading.read(data, tmp_path / "a.tflite") for data in found]
    assert 0 < sum(accepted) < len(found)


def test_bytes_that_are_no_file_are_changed_too() -> None:
    for seed in range(8):
        assert reading.changed(b"none", 4, seed, flip) == b"no\x07e"


def test_what_is_no_error_of_ours_is_a_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(data: bytes, path: Path) -> None:
        raise MemoryError

    monkeypatch.setattr(reading, "parse_any", fail)
    with pytest.raises(MemoryError):
        reading.read(b"", tmp_path / "a.tflite")


@pytest.mark.parametrize("limit", ["SECONDS", "MEGABYTES"])
def test_what_takes_too_much_is_a_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(reading, limit, -1)
    with pytest.raises(reading.SlowError):
        reading.read(b"", tmp_path / "a.tflite")


@pytest.mark.parametrize("value", [None, -1, "x", [], [[]], {"": None}, {"test": {"file": [1]}}])
def test_the_card_of_any_metadata(tmp_path: Path, value: object) -> None:
    """Fields that only `inspect` reads, which the checksums do not keep from being odd."""
    body, entries = parts(SEED[0].read_bytes())
    for name in ("metrics", "gate", "provenance", "rejection", "decoding", "golden"):
        info = {**json.loads(entries["lmedge.json"]), name: value}
        data = joined(body, {**entries, "lmedge.json": json.dumps(info).encode()})
        reading.read(data, tmp_path / "a.tflite")


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed; docs/security.md says how",
)
def test_fuzz_for_some_seconds(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "tests.hostile.fuzz", str(tmp_path / "f"), "--runs", str(RUNS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert f"Done {RUNS} runs" in process.stderr
    assert not list((tmp_path / "f/defects").iterdir())
