"""What a finished run holds, and that a report cannot undo a training."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from lmedge.train import training
from lmedge.train.backend import tf
from lmedge.train.history import HistoryRow
from lmedge.train.network import load_network
from lmedge.train.reports import folder as reports
from lmedge.train.reports.tensorboard import TAGS, epoch_log
from lmedge.train.run import Run


def test_a_report_that_fails_is_a_warning_and_the_rest_is_written(
    finished_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = load_network(finished_run)
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("run.json", "recipe.toml", "split.csv", "history.csv"):
        shutil.copy(finished_run.folder / name, copy / name)
    run = Run.open(copy)

    def fail(*_: object) -> None:
        raise ValueError("a plot\nthat fails")

    monkeypatch.setattr(reports, "plot_confusion", fail)
    with caplog.at_level(logging.WARNING, "lmedge"):
        scores = training._score(run, network, None)
    assert scores is not None
    assert (copy / "weights.safetensors").exists()
    assert json.loads((copy / "metrics.json").read_text("utf-8"))["test"]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "confusion_landmark.png was not written: a plot that fails" in lines[0]
    assert {path.name for path in (copy / "plots").iterdir()} == {
        "curves.png",
        "mistakes.png",
        "activation_maps.png",
    }


def test_even_the_choice_of_fonts_may_fail(
    finished_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("run.json", "recipe.toml", "split.csv"):
        shutil.copy(finished_run.folder / name, copy / name)

    def fail(*_: object) -> None:
        raise RuntimeError("no fonts")

    monkeypatch.setattr(reports, "choose_fonts", fail)
    assert training._score(Run.open(copy), load_network(finished_run), None) is not None
    assert (copy / "report.txt").exists()


def test_every_epoch_of_every_phase_is_in_the_tensorboard_log(finished_run: Run) -> None:
    found: dict[tuple[str, str, int], float] = {}
    for path in (finished_run.folder / "tensorboard").rglob("events.*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found[path.parent.name, value.tag, event.step] = value.simple_value
    history = finished_run.history()
    assert len(found) == len(history) * len(TAGS)
    for row in history:
        for field, tag in TAGS.items():
            assert found[row.phase, tag, row.epoch] == pytest.approx(getattr(row, field), rel=1e-5)


def test_a_log_that_cannot_be_written_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tensorboard").write_text("a file where the folder belongs")
    row = HistoryRow(
        phase="landmark-head",
        epoch=1,
        loss=1.0,
        accuracy=0.5,
        val_loss=1.0,
        val_accuracy=0.5,
        val_macro_f1=0.5,
        learning_rate=1e-3,
        seconds=1.0,
    )
    with caplog.at_level(logging.WARNING, "lmedge"), epoch_log(tmp_path, "landmark-head") as log:
        log(row)
        log(row)
    assert len(caplog.records) == 1
    assert "TensorBoard" in caplog.text
