"""The studies of export, from the command line to the table, on a small run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from benchmarks.studies import baselines, latency_ratios, quality, stage_times
from lmedge.errors import RunError
from tests import small_run
from tests.export.conftest import Exported
from tests.locations import ROOT
from tests.studies.running import read

NAMES = {"float32.tflite", "int8_post_training.tflite"}


def call(
    study: click.Command, name: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [f"{name}.py", *words])
    done = CliRunner().invoke(study, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_stage_times(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, run = tmp_path / "stages.csv", exported.run.folder
    call(stage_times.main, "stage_times", [str(run), "--out", str(out)], monkeypatch)
    heads, rows = read(out)
    assert heads[0].startswith("# command: python -m benchmarks.studies.stage_times RUN --out ")
    assert {"load", "calibration", "conversion"} <= {row["stage"] for row in rows}
    assert float(rows[-1]["peak_mb"]) > 100


def test_baselines(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    call(baselines.main, "baselines", [str(exported.run.folder), str(out)], monkeypatch)
    assert {path.name for path in out.iterdir()} == NAMES
    for path in out.iterdir():
        latency_ratios.bare_invoke(path).task()  # the runtime runs it
    whole, quantized = ((out / name).read_bytes() for name in sorted(NAMES))
    assert whole != quantized


def test_quality_of_two_runs(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, run = tmp_path / "quality.csv", str(exported.run.folder)
    unknown = small_run.write_photographs(tmp_path / "unknown", 2, seed=9)
    words = [run, run, "--out", str(out), "--files", str(tmp_path / "files")]
    words += ["--data", "drawings", "--unknown", str(unknown)]
    call(quality.main, "quality", words, monkeypatch)
    heads, rows = read(out)
    assert heads[2] == "# data: drawings"
    assert [(row["run"], row["format"]) for row in rows] == [
        (name, kind) for name in ("0", "1", "mean") for kind in ("int8", "int8-ptq")
    ]
    assert rows[4]["pictures"] == str(2 * int(rows[0]["pictures"]))
    assert all(0 <= float(row["auroc"]) <= 1 for row in rows[:4:2])
    assert rows[4]["landmark_agreement"] == rows[0]["landmark_agreement"]  # the same run twice


@pytest.mark.parametrize("script", ["stage_times", "equality"])
def test_a_folder_that_is_no_run(script: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    images = ["empty"] if script == "equality" else []
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            f"benchmarks.studies.{script}",
            "empty",
            *images,
            "--out",
            "out.csv",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    assert done.returncode == RunError.exit_code, done.stderr
    assert "Traceback" not in done.stderr
    assert "empty is not a run folder" in done.stderr
    assert not (tmp_path / "out.csv").exists()
