"""Lowering: plain layers that compute the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lmedge.export.quantization.lower import lower
from lmedge.train.backend import keras
from lmedge.train.network import build_network, load_network, predict_logits
from lmedge.train.run import NetworkSpec
from tests import small_run, tiny_backbone

if TYPE_CHECKING:
    from lmedge.train.run import Run
    from tests.export.conftest import Real


def assert_equal_logits(network: Any, lowered: Any, images: np.ndarray) -> None:
    before, after = predict_logits(network, images), predict_logits(lowered, images)
    for head, logits in before.items():
        scale = max(1.0, float(np.abs(logits).max()))
        np.testing.assert_allclose(after[head], logits, rtol=0, atol=1e-4 * scale)


def assert_plain(lowered: Any) -> None:
    for layer in lowered.layers:
        assert not isinstance(layer, keras.layers.BatchNormalization | keras.layers.Dropout)
        activation = layer.get_config().get("activation", "linear")
        assert activation in ("linear", "sigmoid"), layer.name


def test_efficientnetb0(real: Real) -> None:
    assert_equal_logits(real.network, real.lowered, real.pictures)
    assert_plain(real.lowered)
    # 49 swishes became a gate and a product each, 16 sigmoids stayed
    names = [layer.name for layer in real.lowered.layers]
    assert sum(name.endswith("_gate") for name in names) == 49


def test_a_trained_network(trained: Run) -> None:
    network = load_network(trained)
    lowered = lower(network)
    assert_equal_logits(network, lowered, trained.images("val"))
    assert_plain(lowered)
    assert lowered.output_names == network.output_names


def test_layers_between_with_dropout(tiny: None) -> None:
    spec = NetworkSpec(
        backbone=tiny_backbone.NAME,
        size=32,
        landmarks=4,
        categories=2,
        head_layers=(12, 8),
        dropout=(0.5,),
    )
    network = build_network(spec)
    images = np.stack([small_run.draw((90, 90, 90), n, (32, 32)) for n in range(4)])
    lowered = lower(network)
    assert_equal_logits(network, lowered, images)
    assert_plain(lowered)


def test_it_has_weights_of_its_own(trained: Run) -> None:
    """Fine-tuning under quantization must not move the float network it is judged by."""
    network = load_network(trained)
    images = trained.images("val")
    before = predict_logits(network, images)
    lowered = lower(network)
    lowered.set_weights([np.zeros_like(value) for value in lowered.get_weights()])
    after = predict_logits(network, images)
    assert np.array_equal(before["landmark"], after["landmark"])


def test_a_batch_norm_on_its_own_is_refused() -> None:
    image = keras.Input((32, 32, 3))
    x = keras.layers.BatchNormalization(name="alone")(keras.layers.ReLU()(image))
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = {head: keras.layers.Dense(2, name=head)(x) for head in ("landmark", "category")}
    with pytest.raises(ValueError, match="alone does not follow a convolution of its own"):
        lower(keras.Model(image, outputs))


def test_a_bias_of_equal_values_differs_in_one_bit() -> None:
    """The converter quantizes a bias of equal values by the scale of the first channel for all."""
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, bias_initializer="ones", name="ones")(image)
    x = keras.layers.Conv2D(4, 3, bias_initializer="zeros", name="zeros")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = {head: keras.layers.Dense(2, name=head)(x) for head in ("landmark", "category")}
    lowered = lower(keras.Model(image, outputs))
    bias = lowered.get_layer("ones").get_weights()[1]
    assert 0 < np.ptp(bias) < 1e-6
    assert np.abs(bias - 1).max() < 1e-6
    assert not lowered.get_layer("zeros").get_weights()[1].any()
