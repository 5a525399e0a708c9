"""The studies run as modules, answer with their help, and take former option names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.locations import ROOT
from tests.studies.running import run


def modules() -> list[str]:
    """Return the import names of the studies that are run: modules with a command, packages."""
    folder = ROOT / "benchmarks" / "studies"
    found = [path.stem for path in folder.glob("*.py") if "run_study(main)" in path.read_text()]
    found += [path.parent.name for path in folder.glob("*/__main__.py")]
    return sorted(found)


@pytest.mark.parametrize("name", modules())
def test_every_study_answers_with_its_help(name: str) -> None:
    process = run("-m", f"benchmarks.studies.{name}", "--help")
    assert process.returncode == 0, process.stderr
    assert "Usage:" in process.stdout and "--help" in process.stdout
    assert "--pictures" not in process.stdout and "--strangers" not in process.stdout


@pytest.mark.parametrize("name", modules())
def test_results_were_made_with_options_that_are_there(name: str) -> None:
    used = set()
    for path in (ROOT / "benchmarks" / "results").glob("*.csv"):
        words = path.read_text("utf-8").splitlines()[0].split()
        if f"benchmarks.studies.{name}" in words:
            used |= {word for word in words if word.startswith("--")}
    if not used:
        pytest.skip("no result, or none with an option")
    assert used <= set(
        re.findall(r"--[\w-]+", run("-m", f"benchmarks.studies.{name}", "--help").stdout)
    )


def test_every_study_is_found() -> None:
    assert {"peers", "cold_start", "equality", "kill_table"} <= set(modules())
    assert len(modules()) > 20


def test_former_option_names_are_taken() -> None:
    for option in ("--images", "--pictures"):
        process = run("-m", "benchmarks.studies.clients", "none.tflite", option, "no number")
        assert process.returncode == 2
        assert "'no number' is not a valid integer" in process.stderr
    for option in ("--unknown", "--strangers"):
        process = run("-m", "benchmarks.studies.quality", "none", option, "none", "--out", "x.csv")
        assert "No such option" not in process.stderr
        assert process.returncode == 3  # none is no folder of images


def test_a_table_that_cannot_be_written_is_an_error_before_the_work(tmp_path: Path) -> None:
    out = tmp_path / "folder.csv"
    out.mkdir()
    process = run("-m", "benchmarks.studies.throughput", "absent.tflite", "--out", out)
    assert process.returncode == 1, process.stderr
    assert "is a folder; name a file in it" in process.stderr
