"""Refinement: better ranges where the next layer tells, and shifts taken from the biases."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lmedge.export.quantization import refine as refine_module
from lmedge.export.quantization.integer import all_steps
from lmedge.export.quantization.lower import lower
from lmedge.export.quantization.ranges import choose_ranges, observe
from lmedge.export.quantization.refine import refine
from lmedge.export.quantization.scheme import quantize
from lmedge.model_file import HEADS
from lmedge.train.arrays import normalise
from lmedge.train.backend import keras, tf

if TYPE_CHECKING:
    from lmedge.export.quantization.ranges import Range
    from tests.export.conftest import Real


def distance(network: Any, quantized: Any, images: np.ndarray) -> float:
    """Mean squared error of the features against their variance.

    Of 1280 features: the logits of random heads are too few to tell two ranges apart.
    """
    inputs = tf.constant(normalise(images))
    wanted = keras.Model(network.input, network.get_layer("features").output)(inputs).numpy()
    found = all_steps(quantized, inputs)["features"].real().numpy()
    return float(((found - wanted) ** 2).mean() / wanted.var())


@dataclasses.dataclass(frozen=True)
class Refined:
    """The real network with refined ranges, and with the biases that go with them."""

    lowered: Any
    ranges: Mapping[str, Range]


@pytest.fixture(scope="module")
def refined(real: Real) -> Refined:
    lowered = lower(real.network)
    return Refined(lowered, refine(lowered, real.ranges, normalise(real.pictures)))


def test_the_real_network_comes_closer_to_float(real: Real, refined: Refined) -> None:
    before = distance(real.network, real.quantized, real.pictures)
    assert refined.ranges.keys() == real.ranges.keys()
    quantized = quantize(refined.lowered, refined.ranges)
    after = distance(real.network, quantized, real.pictures)
    assert after < 0.97 * before  # 0.942 with the real weights, 0.958 with random ones


def test_only_what_a_convolution_reads_is_searched(real: Real, refined: Refined) -> None:
    found = refined.ranges
    changed = {name for name in found if found[name] != real.ranges[name]}
    assert "stem_activation" in changed
    kept = ("image_in", "stem_conv", "stem_activation_gate", "landmark", "category")
    assert not changed & set(kept)


def small(size: int = 48) -> Any:
    """A convolution of one large and one small channel, a swish-like product, a convolution."""
    image = keras.Input((size, size, 3), name="image")
    x = keras.layers.Activation("linear", name="image_in")(image)
    x = keras.layers.Conv2D(2, 1, name="first")(x)
    x = keras.layers.Activation("tanh", name="between")(x)
    x = keras.layers.Conv2D(4, 3, padding="same", name="second")(x)
    x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    outputs = {head: keras.layers.Dense(3, name=head)(x) for head in HEADS}
    return keras.Model(image, outputs)


@pytest.fixture
def shifted() -> tuple[Any, np.ndarray]:
    """The second channel is the constant 0.004: less than half of the step of a range to 1."""
    keras.utils.set_random_seed(0)
    network = small()
    kernel = np.zeros((1, 1, 3, 2), np.float32)
    kernel[0, 0, 0, 0] = 1.0
    network.get_layer("first").set_weights([kernel, np.array([0.0, 0.003], np.float32)])
    kernel, bias = network.get_layer("second").get_weights()
    kernel[:, :, 1] *= 300
    network.get_layer("second").set_weights([kernel, bias])
    images = np.random.default_rng(0).normal(0, 1, (24, 48, 48, 3)).astype(np.float32)
    return network, images


def test_a_shift_is_taken_from_the_bias(shifted: tuple[Any, np.ndarray]) -> None:
    network, images = shifted
    ranges = choose_ranges(network, observe(network, images, np.random.default_rng(0)))
    bias = network.get_layer("second").get_weights()[1].copy()
    want = {head: value.numpy() for head, value in network(images).items()}
    refined = refine(network, ranges, images)
    moved = network.get_layer("second").get_weights()[1] - bias
    assert np.abs(moved).max() > 0.1
    given = quantize(network, refined)(images, training=True)  # a tanh has no whole numbers
    found = {head: value.numpy() for head, value in given.items()}
    for head in HEADS:
        error = (found[head] - want[head]).mean(axis=0)
        assert np.abs(error).max() < 0.2 * np.abs(moved).max()


def test_no_bias_follows_a_few_values(
    shifted: tuple[Any, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, images = shifted
    ranges = choose_ranges(network, observe(network, images, np.random.default_rng(0)))
    before = [weights.copy() for weights in network.get_weights()]
    monkeypatch.setattr(refine_module, "MIN_VALUES", 24 * 48 * 48 + 1)
    refine(network, ranges, images)
    for old, new in zip(before, network.get_weights(), strict=True):
        assert np.array_equal(old, new)
