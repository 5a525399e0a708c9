"""The quantization scheme: what training simulates is what the file computes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lmedge.decoding import softmax
from lmedge.export.quantization.finetune import TuningJudge, _distance, closeness, fine_tune
from lmedge.export.quantization.grid import INPUT_RANGE, SIGMOID_RANGE
from lmedge.export.quantization.lower import lower
from lmedge.export.quantization.ranges import choose_ranges, observe
from lmedge.export.quantization.scheme import (
    KernelQuantizer,
    RangeQuantizer,
    layer_config,
    quantize,
)
from lmedge.export.verification.comparison import run_file
from lmedge.export.verification.judge import Judge
from lmedge.model_file import HEADS, parse_model
from lmedge.train.arrays import normalise
from lmedge.train.backend import keras, tf
from lmedge.train.network import load_network, predict_logits

if TYPE_CHECKING:
    from lmedge.train.run import Run
    from tests.export.conftest import Exported, Real


@pytest.fixture(scope="module")
def lowered(trained: Run) -> Any:
    return lower(load_network(trained))


@pytest.fixture
def quantized(trained: Run, lowered: Any) -> Any:
    """The trained network under the scheme, not fine-tuned."""
    images = normalise(trained.images("train"))
    return quantize(lowered, choose_ranges(lowered, observe(lowered, images, _rng())))


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def call(quantizer: Any, values: np.ndarray) -> np.ndarray:
    return np.asarray(quantizer(tf.constant(values, tf.float32), training=True, weights={}))


class TestKernels:
    @pytest.mark.parametrize(
        ("shape", "axis"),
        [((3, 3, 4, 8), 3), ((1, 1, 16, 5), 3), ((3, 3, 6, 1), 2), ((24, 7), 1)],
    )
    def test_a_grid_of_255_levels_for_each_channel(self, shape: tuple[int, ...], axis: int) -> None:
        gains = 10.0 ** np.linspace(-4, 2, shape[axis])
        kernel = np.moveaxis(_rng().normal(size=shape), axis, -1) * gains
        kernel = np.moveaxis(kernel, -1, axis).astype(np.float32)
        found = call(KernelQuantizer(axis), kernel)
        for channel in range(shape[axis]):
            before, after = (np.take(values, channel, axis) for values in (kernel, found))
            scale = np.abs(after).max() / 127
            steps = after / scale
            np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
            assert np.abs(after).max() == pytest.approx(np.abs(before).max(), rel=2**-14)
            assert np.abs(after - before).max() <= 0.504 * scale

    def test_a_channel_of_zeros_stays(self) -> None:
        kernel = np.zeros((3, 3, 2, 1), np.float32)
        kernel[..., 1, :] = 1
        np.testing.assert_allclose(call(KernelQuantizer(2), kernel), kernel, rtol=2**-14)

    def test_the_gradient_passes_straight_through(self) -> None:
        kernel = tf.constant(_rng().normal(size=(3, 3, 4, 8)), tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            total = tf.reduce_sum(KernelQuantizer(3)(kernel, training=True, weights={}))
        assert np.array_equal(tape.gradient(total, kernel), np.ones(kernel.shape))


class TestRanges:
    def test_a_range_is_256_levels_with_zero_among_them(self) -> None:
        values = np.linspace(-3, 9, 10_000).astype(np.float32)
        found = call(RangeQuantizer(-1.3, 5.1), values)
        assert len(np.unique(found)) == 256
        assert 0.0 in found
        assert found.min() == pytest.approx(-1.3, abs=0.02)
        assert found.max() == pytest.approx(5.1, abs=0.02)

    def test_the_gradient_is_cut_outside(self) -> None:
        values = tf.constant([-9.0, 0.5, 9.0])
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = tf.reduce_sum(RangeQuantizer(-1.0, 5.0)(values, training=True, weights={}))
        assert list(tape.gradient(total, values).numpy()) == [0.0, 1.0, 0.0]

    def test_raw_pixels_come_through_unchanged(self) -> None:
        pixels = normalise(np.arange(256, dtype=np.uint8))
        np.testing.assert_allclose(call(RangeQuantizer(*INPUT_RANGE), pixels), pixels, atol=1e-6)

    def test_the_sigmoid_has_the_range_of_logistic(self) -> None:
        """TFLite's LOGISTIC has scale 1/256 and zero point -128, whatever one asks for."""
        assert SIGMOID_RANGE == (0.0, 255 / 256)
        found = np.unique(call(RangeQuantizer(*SIGMOID_RANGE), np.linspace(0, 1, 5000)))
        assert np.array_equal(found, (np.arange(256) / 256).astype(np.float32))


class TestScheme:
    def test_every_layer_has_what_the_table_says(self, real: Real) -> None:
        kinds = set()
        for layer in real.lowered.layers[1:]:
            config = layer_config(layer, real.ranges)
            kind = type(layer).__name__
            kinds.add(kind)
            kernels = {"Conv2D": ("kernel", 3), "DepthwiseConv2D": ("depthwise_kernel", 2)}
            kernels["Dense"] = ("kernel", 1)
            expected = kernels.get(kind, (None, -1))
            assert (config.kernel, config.axis) == expected, layer.name
            assert config.output is not None, layer.name
            if layer.get_config().get("activation") == "sigmoid":
                assert config.output == SIGMOID_RANGE
            elif layer.name in ("image_in", "stem_pad"):
                assert config.output == INPUT_RANGE
            else:
                joined = layer.name in ("widest_average", "last_average")
                assert config.output == real.ranges["features" if joined else layer.name]
        assert {
            "Conv2D",
            "DepthwiseConv2D",
            "Dense",
            "Multiply",
            "Add",
            "Activation",
            "Concatenate",
        } <= kinds

    def test_a_layer_in_front_of_a_relu_is_one_with_it(self) -> None:
        image = keras.Input((4,))
        x = keras.layers.Dense(3, name="between")(image)
        x = keras.layers.ReLU(name="relu")(x)
        keras.Model(image, x)
        node = x._keras_history.layer.inbound_nodes[0].parent_nodes[0].layer
        assert layer_config(node, {"between": (-1.0, 1.0)}).output is None

    def test_every_output_in_the_network_is_on_its_grid(self, quantized: Any) -> None:
        """Of the running network, not of the configuration."""
        outputs = {
            layer.name: layer.output
            for layer in quantized.layers
            if not isinstance(layer, keras.layers.InputLayer)
        }
        images = normalise(_rng().integers(0, 256, (3, 32, 32, 3), np.uint8))
        values = keras.Model(quantized.input, outputs)(images, training=False)
        for name, found in values.items():
            assert len(np.unique(found)) <= 256, name

    def test_it_is_close_to_float_from_the_start(self, trained: Run, quantized: Any) -> None:
        images = trained.images("test")
        before = predict_logits(load_network(trained), images)
        after = predict_logits(quantized, images)
        assert list(before) == list(after) == list(HEADS)
        for head in HEADS:
            assert np.corrcoef(before[head].ravel(), after[head].ravel())[0, 1] > 0.99
        landmark = (values["landmark"].argmax(axis=1) for values in (before, after))
        assert (next(landmark) == next(landmark)).mean() > 0.9

    def test_the_gradient_reaches_every_weight(self, quantized: Any) -> None:
        images = normalise(_rng().integers(0, 256, (8, 32, 32, 3), np.uint8))
        with tf.GradientTape() as tape:
            logits = quantized(images, training=True)
            loss = tf.add_n([tf.reduce_mean(tf.square(logits[head])) for head in HEADS])
        variables = quantized.trainable_variables
        gradients = tape.gradient(loss, variables)
        assert len(variables) > 20
        for variable, gradient in zip(variables, gradients, strict=True):
            assert gradient is not None, variable.name
            assert np.isfinite(gradient).all(), variable.name
            assert np.abs(gradient).max() > 0, variable.name


class TestAgainstTheFile:
    def test_the_file_computes_what_was_simulated(self, exported: Exported) -> None:
        model = parse_model(exported.outcome.file.data, exported.path)
        images = np.concatenate([exported.run.images(part) for part in ("val", "test")])
        file = run_file(model, images)
        logits = predict_logits(exported.quantized, images)
        for head in HEADS:
            simulated = softmax(logits[head], exported.outcome.temperatures[head])
            assert np.array_equal(file[head].argmax(axis=1), simulated.argmax(axis=1))
            assert np.abs(file[head] - simulated).max() < 1e-3

    def test_and_of_the_real_network(self, real: Real) -> None:
        """All 190 tensors in a row: the last would show what any of them rounds otherwise."""
        file = run_file(real.file, real.pictures)
        logits = predict_logits(real.quantized, real.pictures)
        for head in HEADS:
            simulated = softmax(logits[head])
            assert np.abs(file[head] - simulated).max() < 1e-3


def judge_of(run: Run, teacher: Any) -> TuningJudge:
    """The validation part, with the teacher's answers for it."""
    wanted = predict_logits(teacher, run.images("val"))
    places = np.arange(len(run.entries("val")))
    judge = Judge(part="val", places=places, truth=run.labels("val"), honest=wanted)
    return TuningJudge(judge=judge, images=run.images("val"), wanted=wanted)


class TestFineTuning:
    def test_it_never_ends_worse_than_it_began(self, trained: Run, quantized: Any) -> None:
        """A learning rate that destroys the network leaves the weights it began with."""
        wild = _with(trained, learning_rate=1.0, epochs=1)
        before = quantized.get_weights()
        teacher = load_network(trained)
        fine_tune(wild, teacher, quantized, judge_of(trained, teacher))
        for was, now in zip(before, quantized.get_weights(), strict=True):
            assert np.array_equal(was, now)

    def test_it_learns_to_answer_as_float_does(self, trained: Run, lowered: Any) -> None:
        """From ranges that are far too wide."""
        coarse = {layer.name: (-24.0, 24.0) for layer in lowered.layers[1:]}
        quantized = quantize(lowered, coarse)
        teacher = load_network(trained)
        judge, images = judge_of(trained, teacher), trained.images("val")
        wanted, truth, taxonomy = judge.wanted, trained.labels("val"), trained.taxonomy
        before = closeness(truth, taxonomy, wanted, predict_logits(quantized, images))
        slow = _with(trained, learning_rate=1e-3, epochs=4)
        after = fine_tune(slow, teacher, quantized, judge).closeness
        assert after.distance < 0.7 * before.distance
        assert after == closeness(truth, taxonomy, wanted, predict_logits(quantized, images))
        # and the teacher is what it was
        again = predict_logits(teacher, images)
        assert all(np.array_equal(again[head], wanted[head]) for head in HEADS)


def test_a_head_of_one_class_pulls_nowhere() -> None:
    """With a single category its logits differ by nothing; the other head is still to learn."""
    given = tf.Variable([[3.0], [-1.0]])
    with tf.GradientTape() as tape:
        distance = _distance(tf.constant([[2.0], [5.0]]), given)
    assert float(distance) == 0.0
    assert np.array_equal(tape.gradient(distance, given), np.zeros((2, 1)))


def _with(run: Run, **values: Any) -> Run:
    """Return the run with some values of its quantize section changed."""
    section = dataclasses.replace(run.recipe.quantize, **values)
    return dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, quantize=section))
