"""VGG16: our flat graph computes what the stock model does behind its own preprocess_input.

ImageNet weights for it are a download; what is shown here is shown with random ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmedge.errors import WeightsError
from lmedge.train.arrays import normalise
from lmedge.train.backbones import BACKBONES, load_stock_weights
from lmedge.train.backend import keras
from tests import small_run
from tests.locations import B0_WEIGHTS, PHOTOGRAPHS, needs
from tests.stock_features import cosines, draw, groups_of_layers
from tests.stock_features import photographs as real_photographs

VGG16 = BACKBONES["vgg16"]


def photographs(size: int) -> np.ndarray:
    if PHOTOGRAPHS.is_dir():
        return real_photographs(size)
    colours = np.random.default_rng(0).integers(20, 236, (24, 3))
    return np.stack([small_run.draw(c, n, (size, size)) for n, c in enumerate(colours.tolist())])


def stock_model(size: int) -> Any:
    return keras.applications.VGG16(include_top=False, weights=None, input_shape=(size, size, 3))


def stock_features(stock: Any, pixels: np.ndarray) -> np.ndarray:
    given = keras.applications.vgg16.preprocess_input(pixels.astype(np.float32))
    return np.asarray(stock(given, training=False)).mean(axis=(1, 2))


def assert_alike(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape == (24, 512)
    assert cosines(found, expected).min() > 0.99999
    # Random weights give all images much the same features: without their mean they differ.
    mean = expected.mean(axis=0)
    assert cosines(found - mean, expected - mean).min() > 0.99999


@pytest.fixture(scope="module")
def stock_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, biases among them, as Keras saves those of the stock model."""
    keras.utils.set_random_seed(0)
    stock = stock_model(64)
    rng = np.random.default_rng(0)
    for layer in stock.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([1.4 * kernel, rng.normal(0, 0.3, bias.shape)])
    path = tmp_path_factory.mktemp("vgg16") / "vgg16_notop.h5"
    stock.save_weights(path)
    return path


@pytest.fixture(scope="module")
def ours(stock_file: Path) -> Any:
    model = draw(VGG16, 64)
    load_stock_weights(model, VGG16, str(stock_file))
    return model


@pytest.mark.parametrize("size", [32, 64, 75])
def test_features(ours: Any, stock_file: Path, size: int) -> None:
    pixels = photographs(size)
    stock, model = stock_model(size), draw(VGG16, size)
    stock.load_weights(stock_file)
    model.set_weights(ours.get_weights())
    found = np.asarray(model(normalise(pixels), training=False))
    assert_alike(found, stock_features(stock, pixels))


def test_the_border_and_the_order_of_the_channels_matter(ours: Any, stock_file: Path) -> None:
    """Or the test above would show neither."""
    pixels = photographs(32)
    stock, model = stock_model(32), draw(VGG16, 32)
    stock.load_weights(stock_file)
    expected = stock_features(stock, pixels)
    mean = expected.mean(axis=0)

    def alike(images: np.ndarray) -> float:
        found = np.asarray(model(normalise(images), training=False))
        return float(cosines(found - mean, expected - mean).min())

    model.set_weights(ours.get_weights())
    assert alike(pixels) > 0.99999
    assert alike(pixels[..., ::-1]) < 0.999
    model.get_layer("block1_pad").set_weights([np.zeros(3)])
    assert alike(pixels) < 0.9999


def test_the_border_is_the_mean_colour(ours: Any) -> None:
    (border,) = ours.get_layer("block1_pad").get_weights()
    np.testing.assert_allclose(border * 57 + 114, [123.68, 116.779, 103.939], atol=1e-3)


def test_the_download_is_read_the_same_way(
    ours: Any, stock_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = keras.applications.VGG16.__module__
    monkeypatch.setattr(f"{module}.data_utils.get_file", lambda *_, **__: str(stock_file))
    model = draw(VGG16, 64)
    load_stock_weights(model, VGG16, "imagenet")
    for was, now in zip(ours.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(was, now)


def test_every_layer_is_named_as_in_the_stock_model(ours: Any) -> None:
    named = {layer.name for layer in ours.layers if layer.weights}
    assert named - {"block1_pad"} == {
        layer.name for layer in stock_model(64).layers if layer.weights
    }


def test_groups_cover_the_network_in_order(ours: Any) -> None:
    assert VGG16.groups == ("block1", "block2", "block3", "block4", "block5")
    named = groups_of_layers(VGG16, ours)
    assert named == sorted(named)
    assert set(named) == set(range(5))


@needs(B0_WEIGHTS)
def test_weights_of_another_network_are_refused(ours: Any) -> None:
    before = ours.get_weights()
    with pytest.raises(WeightsError, match=r"notop\.h5 does not hold vgg16 weights without top"):
        load_stock_weights(ours, VGG16, str(B0_WEIGHTS))
    for was, now in zip(before, ours.get_weights(), strict=True):
        assert np.array_equal(was, now)
