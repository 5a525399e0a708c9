"""The studies of export, from the command line to the table, on a small run."""

from __future__ import annotations

import csv
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from benchmarks.studies import baselines, latency_ratios, quality, stage_times
from tests import small_run
from tests.export.conftest import Exported

NAMES = {"float32.tflite", "int8_post_training.tflite"}


def read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    lines = path.read_text("utf-8").splitlines()
    heads = [line for line in lines if line.startswith("# ")]
    assert [line.split(":")[0] for line in heads] == ["# command", "# machine", "# data"]
    return heads, list(csv.DictReader(lines[len(heads) :]))


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
