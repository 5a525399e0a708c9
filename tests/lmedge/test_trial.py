"""The first run of a file in a child process: crashes and endless loops stay there."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path

import pytest

from lmedge import trial
from lmedge.errors import ModelFileError
from lmedge.model_file import ModelFile, read_model


@pytest.fixture
def model(tiny_file: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFile:
    monkeypatch.setattr(trial, "_survived", set())
    # Threads that other tests left would make it a new process, which knows no patches.
    monkeypatch.setattr(trial.threading, "active_count", lambda: 1)
    return read_model(tiny_file)


@pytest.mark.parametrize("way", [trial._forked, trial._spawned])
def test_a_good_file_survives(model: ModelFile, way: object) -> None:
    assert way(model) == 0  # type: ignore[operator]


@pytest.mark.parametrize("way", [trial._forked, trial._spawned])
def test_what_the_runtime_refuses_is_told_apart(model: ModelFile, way: object) -> None:
    bad = dataclasses.replace(model, data=b"no graph at all" * 9)
    assert way(bad) == trial._REFUSED  # type: ignore[operator]


def test_a_crash_is_one_error(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    monkeypatch.setattr(trial, "_try", crash)
    with pytest.raises(ModelFileError, match=r"tiny.tflite: .* does not survive it \(SIGKILL\)"):
        trial.survive(model)
    assert model.sha256 not in trial._survived


def test_what_does_not_end_is_one_error(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 0.2)
    monkeypatch.setattr(trial, "_try", lambda *_: time.sleep(60))
    with pytest.raises(ModelFileError, match=r"did not run within 0.2 s"):
        trial.survive(model)


def test_it_is_tried_once(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    trial.survive(model)
    monkeypatch.setattr(trial, "_forked", lambda *_: pytest.fail("tried again"))
    monkeypatch.setattr(trial, "_spawned", lambda *_: pytest.fail("tried again"))
    trial.survive(model)
