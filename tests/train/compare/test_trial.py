"""The time that a comparison still takes."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import pytest

from lmedge.train.compare import trial
from lmedge.train.compare.plan import Repeat, Trial, settings_of
from lmedge.train.data.split import Split

RESULT = trial.TrialResult(
    landmark_f1=0.9,
    category_f1=0.9,
    train_pictures=20,
    test_pictures=5,
    tested="",
    train_seconds=500.0,
    parameters=1,
    int8=trial.FileResult(
        landmark_f1=0.9,
        category_f1=0.9,
        gate_passed=True,
        bytes=1,
        export_seconds=100.0,
        agreement_landmark=1.0,
        agreement_category=1.0,
    ),
)


def test_the_time_left_counts_what_other_calls_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (setting,) = settings_of(
        strategies="parallel",
        backbones=None,
        recipes="default",
        vary=(),
        changes=(),
        weights=("none",),
    )
    trials = [
        Trial(
            setting=setting,
            repeat=Repeat(seed=seed),
            split=Split(parts={"train": (), "val": (), "test": ()}),
        )
        for seed in range(4)
    ]
    done = tmp_path / "runs" / trials[0].key / "result.json"
    done.parent.mkdir(parents=True)
    done.write_text(json.dumps(dataclasses.asdict(RESULT)))
    resumed = dataclasses.replace(RESULT, train_seconds=700.0)  # most of it by another call
    monkeypatch.setattr(trial, "run_trial", lambda *_, **__: resumed)
    caplog.set_level(logging.INFO)
    trial.run_trials(trials, tmp_path, tmp_path, int8=True, keep=False)
    lines = [record.getMessage() for record in caplog.records if " of 3: " in record.getMessage()]
    assert [line.partition("(")[2] for line in lines] == [
        "13.3 min; about 23 left)",
        "13.3 min; about 12 left)",
        "13.3 min; about 0 left)",
    ]
