"""Probabilities that do not depend on the kernel that computed the softmax."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from lmedge.exact import KNOWN_STEPS, ROOM, ExactSoftmax, known_steps, softmax_of
from lmedge.image import Resize
from lmedge.model_file import ModelFile, bare_model, read_model
from lmedge.runner import GraphRunner
from tests import tiny_file as tiny
from tests.hostile.graphs import Graph, edited

STEPS = (0.0539, 0.2048, 0.7)


def kernels(logits: np.ndarray) -> list[np.ndarray]:
    """Return the softmax of (K,) float64 logits as kernels that round differently compute it."""
    exact = np.exp(logits - logits.max())
    exact /= exact.sum()
    single = np.exp((logits - logits.max()).astype(np.float32))
    up = np.nextafter(exact.astype(np.float32), np.float32(1))
    return [exact.astype(np.float32), single / single.sum(dtype=np.float32), up]


@pytest.mark.parametrize("step", STEPS)
def test_kernels_that_round_differently_give_the_same_bits(step: float) -> None:
    rng = np.random.default_rng(1)
    softmax = ExactSoftmax(step)
    differed = 0
    for _ in range(200):
        found = kernels(rng.integers(-128, 128, 30) * step)
        differed += len({one.tobytes() for one in found}) > 1
        again = [softmax.again(one.tolist()) for one in found]
        assert all(one is not None for one in again)
        assert len({one.tobytes() for one in again if one is not None}) == 1
        assert again[0] is not None and np.abs(again[0] - found[0]).max() < 5e-7
    assert differed == 200


@pytest.mark.parametrize("step", STEPS)
def test_probabilities_that_no_steps_explain_stay_as_they_are(step: float) -> None:
    logits = np.arange(8) * step
    logits[3] += 0.4 * step
    (single, *_) = kernels(logits)
    assert ExactSoftmax(step).again(single.tolist()) is None
    assert ExactSoftmax(0.0011).again([0.0, 0.0]) is None
    assert ExactSoftmax(0.0011).again([1.0, 1e-30]) is None  # farther apart than int8 are


def test_steps_that_cannot_be_told_apart_are_not_used() -> None:
    assert softmax_of(0.0) is None
    assert softmax_of(1e-4) is None
    assert softmax_of(float("inf")) is None
    assert softmax_of(float("nan")) is None
    assert softmax_of(0.05) is not None


@pytest.fixture(scope="module")
def model() -> ModelFile:
    """The graph with its softmax in float32."""
    graph = tiny.graph(known=True)
    return bare_model(graph, Path("known.tflite"), tiny.TAXONOMY, Resize.SQUASH, {})


def test_the_step_is_the_scale_of_the_logits_times_the_factor(model: ModelFile) -> None:
    for head in model.heads.values():
        assert head.logit_step == pytest.approx(32 / 255 * tiny.NEARLY_ONE, rel=1e-7)


def test_a_softmax_in_int8_has_no_step(tiny_file: Path) -> None:
    assert [one.logit_step for one in read_model(tiny_file).heads.values()] == [0.0, 0.0]


def test_outputs_of_a_file_are_the_exact_ones(model: ModelFile) -> None:
    runner = GraphRunner(model)
    softmax = ExactSoftmax(model.heads["landmark"].logit_step)
    rng = np.random.default_rng(2)
    for _ in range(5):
        outputs = runner.run(rng.integers(0, 256, (tiny.SIZE, tiny.SIZE, 3), np.uint8))
        raw = runner._runner.get_tensor(runner._landmark.index)[0]
        again = softmax.again(raw.tolist())
        assert again is not None and outputs.landmark.tobytes() == again.tobytes()
        assert np.abs(outputs.landmark - raw).max() < ROOM
        assert outputs.known is not None and float(outputs.known[0] * KNOWN_STEPS).is_integer()


@pytest.mark.parametrize("inputs", [[], [-1], [-1, -1]])
def test_operators_without_inputs_have_no_step(inputs: list[int]) -> None:
    def change(graph: Graph) -> None:
        for operator in graph.main.operators:
            if graph.output("landmark") in operator.outputs:
                operator.inputs = inputs

    graph = edited(tiny.graph(known=True), change)
    found = bare_model(graph, Path("a.tflite"), tiny.TAXONOMY, Resize.SQUASH, {})
    assert found.heads["landmark"].logit_step == 0.0


def test_known_comes_in_steps() -> None:
    assert [known_steps(value) for value in (0.0, 0.5, 1.0)] == [0.0, 0.5, 1.0]
    assert known_steps(0.177019) == 181 / 1024
    nearest = struct.unpack("<f", struct.pack("<f", known_steps(0.3)))[0]
    assert nearest == known_steps(0.3)  # a float32 holds it
