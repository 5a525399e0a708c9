"""The first run of a file in a child process: what it refuses there is final."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from lmedge import trial
from lmedge.errors import LmedgeError, ModelFileError
from lmedge.interpreter import Interpreter
from lmedge.model_file import ModelFile, parse_model, read_model
from tests.hostile.files import joined, parts
from tests.hostile.graphs import Graph, edited


@pytest.fixture
def model(tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFile:
    monkeypatch.setattr(trial, "_survived", set())
    monkeypatch.setenv("LMEDGE_CACHE", str(tmp_path / "cache"))
    # Threads that other tests left would make it a new process, which knows no patches.
    monkeypatch.setattr(trial.threading, "active_count", lambda: 1)
    return read_model(tiny_file)


@pytest.fixture(params=["forked", "spawned"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    found: str = request.param
    monkeypatch.setattr(trial.threading, "active_count", lambda: 1 if found == "forked" else 2)
    return found


def changed(model: ModelFile, change: Callable[[Graph], object]) -> ModelFile:
    body, entries = parts(model.data)
    return parse_model(joined(edited(body, change), entries), model.path)


def test_a_good_file_survives(model: ModelFile, way: str) -> None:
    trial.survive(model)
    assert (model.sha256, None) in trial._survived


@pytest.mark.parametrize("factor", [np.nan, np.inf, -1.0, 1e6, 0.5])
def test_outputs_that_are_no_probabilities_are_refused(
    model: ModelFile, way: str, factor: float
) -> None:
    bad = changed(model, lambda graph: graph.scale_output("landmark", [factor] * 4))
    with pytest.raises(ModelFileError, match=r"tiny.tflite: its landmark output holds no prob"):
        Interpreter(bad)


def _bombs() -> dict[str, Callable[[Graph], object]]:
    def padded(graph: Graph) -> None:
        """Declares one number, and pads it to 64 GB."""
        number = graph.operator(
            "RESHAPE",
            [graph.brightness(), graph.constant([1, 1], "int32")],
            graph.tensor((1, 1)),
            schema.ReshapeOptionsT(),
        )
        sides = graph.constant([[0, 131071], [0, 131071]], "int32")
        wide = graph.operator("PAD", [number, sides], graph.tensor((1, 1)), schema.PadOptionsT())
        axes = graph.constant([0, 1], "int32")
        graph.spread(
            graph.operator("MEAN", [wide, axes], graph.tensor(()), schema.ReducerOptionsT())
        )

    def broadcast(graph: Graph) -> None:
        """Declares one number, and multiplies a column by a row of 65,536 each."""
        row = graph.constant(np.ones((1, 1 << 16)))
        column = graph.constant(np.ones((1 << 16, 1)))
        near = graph.operator(
            "MUL", [graph.brightness(), row], graph.tensor((1, 1 << 16)), schema.MulOptionsT()
        )
        wide = graph.operator("MUL", [near, column], graph.tensor((1, 1)), schema.MulOptionsT())
        axes = graph.constant([0, 1], "int32")
        graph.spread(
            graph.operator("MEAN", [wide, axes], graph.tensor(()), schema.ReducerOptionsT())
        )

    return {"padded": padded, "broadcast": broadcast}


@pytest.mark.parametrize("name", _bombs())
def test_memory_that_only_the_runtime_sees_is_refused_with_its_reason(
    model: ModelFile, way: str, name: str
) -> None:
    bad = changed(model, _bombs()[name])
    assert bad.bytes_needed < 1 << 20
    with pytest.raises(ModelFileError, match=r"tiny\.tflite: this ai_edge_litert cannot run it \("):
        Interpreter(bad)


def test_the_memory_of_the_tensors_is_known_before_anything_runs(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wide(graph: Graph) -> None:
        row, column = graph.constant(np.ones((1, 20000))), graph.constant(np.ones((20000, 1)))
        options = schema.MulOptionsT()
        near = graph.operator(
            "MUL", [graph.brightness(), row], graph.tensor((1, 20000)), schema.MulOptionsT()
        )
        graph.operator("MUL", [near, column], graph.tensor((20000, 20000)), options)

    bad = changed(model, wide)
    assert bad.bytes_needed > 4 * 20000**2
    monkeypatch.setattr(trial, "_forked", lambda *_: pytest.fail("it was run"))
    with pytest.raises(ModelFileError, match=r"needs 15\d\d MB .*; set LMEDGE_MODEL_MB to allow"):
        Interpreter(bad)


def test_the_limit_is_a_setting(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trial.memory_limit() <= trial.MEGABYTES << 20
    monkeypatch.setenv(trial.SETTING, "9000")
    assert trial.memory_limit() == 9000 << 20
    for wrong in ("-1", "0", "all", "1e3", "9" * 400, "٣"):
        monkeypatch.setenv(trial.SETTING, wrong)
        with pytest.raises(LmedgeError, match="LMEDGE_MODEL_MB must be a number of megabytes"):
            trial.survive(model)


def test_half_of_a_small_memory_is_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "memory_bytes", lambda: 256 << 20)
    assert trial.memory_limit() == 128 << 20


def test_a_crash_is_one_error(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> tuple[int, bytes]:
        os.kill(os.getpid(), signal.SIGTRAP)
        return 0, b""

    monkeypatch.setattr(trial, "_try", crash)
    with pytest.raises(ModelFileError, match=r"tiny.tflite: .* does not survive it \(SIGTRAP\)"):
        trial.survive(model)
    assert not trial._survived


def test_what_does_not_end_is_one_error(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "WAIT", 0.2)
    monkeypatch.setattr(trial, "_try", lambda *_: time.sleep(60))
    with pytest.raises(ModelFileError, match=r"did not run 6 images within 8 s"):
        trial.survive(model)


def test_processor_time_is_limited(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object) -> tuple[int, bytes]:
        monkeypatch.setattr(trial, "SECONDS", 0)
        trial._limit()
        while True:
            pass

    monkeypatch.setattr(trial, "_try", busy)
    with pytest.raises(ModelFileError, match=r"did not run 6 images within 8 s"):
        trial.survive(model)


def test_it_is_tried_once(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    trial.survive(model)
    monkeypatch.setattr(trial, "_forked", lambda *_: pytest.fail("tried again"))
    monkeypatch.setattr(trial, "_spawned", lambda *_: pytest.fail("tried again"))
    trial.survive(model)
    other = dataclasses.replace(model, sha256="another")
    with pytest.raises(pytest.fail.Exception):
        trial.survive(other)


def test_the_images_are_black_white_noisy_and_golden() -> None:
    images = list(trial.trial_images(32))
    assert len(images) == 3 + trial.GOLDEN
    assert images[0].max() == 0 and images[1].min() == 255 and images[2].std() > 60
    assert all(image.shape == (32, 32, 3) and image.dtype == np.uint8 for image in images)
