"""The thread count that is measured, the runtime behind it, and one classifier in many threads."""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import logging
from pathlib import Path

import pytest

from lmedge import Classifier, interpreter, threads
from lmedge.model_file import ModelFile, read_model
from lmedge.runtime import load_runtime
from tests.tiny_file import image


@pytest.fixture
def model(tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFile:
    monkeypatch.setenv("LMEDGE_CACHE", str(tmp_path / "cache"))
    return read_model(tiny_file)


def pretend(monkeypatch: pytest.MonkeyPatch, cores: int, seconds: dict[int, float]) -> list[int]:
    """Let an invoke take `seconds` by thread count; returns the counts that are measured."""
    measured: list[int] = []

    def taken(subject: interpreter.Interpreter) -> float:
        measured.append(subject.threads)
        return seconds[subject.threads]

    monkeypatch.setattr("lmedge.machine.cores", lambda: cores)
    monkeypatch.setattr("lmedge.machine.busy_seconds", lambda: None)
    monkeypatch.setattr(threads, "_seconds", taken)
    return measured


def test_the_fastest_count_is_measured_once(
    model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = pretend(monkeypatch, 8, {1: 1.0, 2: 0.6, 4: 0.4, 8: 0.39})
    assert [threads.best_threads(model) for _ in range(3)] == [4, 4, 4]
    assert measured == [1, 2, 4, 8]
    (key,) = json.loads((tmp_path / "cache" / "threads.json").read_text())
    assert key.startswith(model.sha256[:16]) and "8 cores" in key
    pretend(monkeypatch, 4, {1: 1.0, 2: 0.95})  # other machines measure for themselves
    assert threads.best_threads(model) == 1


def test_what_was_measured_beside_others_is_not_remembered(
    model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = pretend(monkeypatch, 2, {1: 1.0, 2: 0.9})
    worked = itertools.count(step=1000)  # seconds of all cores, between two looks
    monkeypatch.setattr("lmedge.machine.busy_seconds", lambda: float(next(worked)))
    assert [threads.best_threads(model) for _ in range(2)] == [1, 1]
    assert measured == [1, 2, 1, 2]
    assert not (tmp_path / "cache" / "threads.json").exists()


def test_a_damaged_or_unwritable_cache_only_costs_time(
    model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, 2, {1: 1.0, 2: 0.5})
    (tmp_path / "cache").mkdir()
    for content in ("no json", "[1]", '{"a": "b"}'):
        (tmp_path / "cache" / "threads.json").write_text(content)
        assert threads.best_threads(model) == 2
    monkeypatch.setenv("LMEDGE_CACHE", str(tmp_path / "cache" / "threads.json" / "inside"))
    assert threads.best_threads(model) == 2


def test_measured_for_real(model: ModelFile) -> None:
    found = Classifier(model, threads=None).interpreter.threads
    assert found >= 1 and found & (found - 1) == 0


def test_one_classifier_serves_several_threads(tiny_file: Path) -> None:
    classifier = Classifier(tiny_file)
    names = ["red", "green", "blue", "grey stone"] * 50
    images = {name: image(name) for name in names}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda name: classifier.classify(images[name]).landmark, names))
    assert answers == names


def test_tflite_runtime_is_warned_of(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, runtime_class = load_runtime()
    monkeypatch.setattr(
        interpreter, "load_runtime", lambda _=None: ("tflite_runtime", runtime_class)
    )
    interpreter._warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):  # a command may load a file several times
            interpreter.Interpreter(model)
    assert caplog.text.count("many times slower") == 1
