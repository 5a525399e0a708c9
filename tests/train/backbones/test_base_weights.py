"""`--weights base`: the integers of the base that comes with lmedge, as floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lmedge.base_file import read_base
from lmedge.errors import WeightsError
from lmedge.image import PIXEL_MEAN, PIXEL_SCALE, prepare
from lmedge.teach.backbone import FeatureGraph, FeatureReader
from lmedge.train import demo as drawings
from lmedge.train.arrays import normalise
from lmedge.train.backbones import BACKBONES, check_pretrained, load_stock_weights
from lmedge.train.backbones.base_weights import read_base_weights
from lmedge.train.backbones.tensors import Layer, LayoutError, layers_of
from tests.locations import B0_WEIGHTS, needs


def network(weights: str) -> Any:
    """Return the backbone with the features of a base: images of 224 pixels -> (N, 2432)."""
    from lmedge.train.backend import keras

    backbone = BACKBONES["efficientnetb0"]
    image = keras.Input((224, 224, 3))
    model = keras.Model(image, backbone.build(image, widest=True))
    if weights != "none":
        load_stock_weights(model, backbone, weights)
    return model


@pytest.fixture(scope="module")
def images() -> Any:
    clip = [frame for frame, _ in drawings.clip(0, 60)][::15]
    return np.stack([prepare(frame, 224, read_base().resize) for frame in clip])


@pytest.fixture(scope="module")
def features(images: Any) -> Any:
    return network("base").predict(normalise(images), verbose=0)


def likeness(one: Any, other: Any) -> Any:
    return [float(np.corrcoef(*pair)[0, 1]) for pair in zip(one, other, strict=True)]


def test_the_network_gives_the_features_of_the_file(images: Any, features: Any) -> None:
    """They differ by the integers that the file computes in between, and by no more."""
    graph = FeatureGraph.of(read_base())
    reader = FeatureReader(graph)
    stored = np.stack([np.asarray(reader.read(image), np.float64).ravel() for image in images])
    assert min(likeness(features, stored)) > 0.95


@needs(B0_WEIGHTS)
def test_they_are_nearly_those_of_the_published_weights(images: Any, features: Any) -> None:
    published = network(str(B0_WEIGHTS)).predict(normalise(images), verbose=0)
    assert min(likeness(features, published)) > 0.98


def test_what_is_not_there_is_the_mean_of_imagenet(features: Any) -> None:
    model = network("base")
    (border,) = model.get_layer("stem_pad").get_weights()
    mean = 255 * np.array([0.485, 0.456, 0.406])
    assert border * PIXEL_SCALE + PIXEL_MEAN == pytest.approx(mean, abs=1.5)


def test_a_layer_that_the_base_lacks_is_named() -> None:
    lacking = Layer("block9a_dwconv", "depthwise_conv2d", ((3, 3, 8, 1),))
    with pytest.raises(LayoutError, match="no layer block9a_dwconv"):
        read_base_weights(read_base(), [lacking])
    other = Layer("stem_conv", "conv2d", ((3, 3, 3, 16),))
    with pytest.raises(LayoutError, match=r"stem_conv is \(3, 3, 3, 32\)"):
        read_base_weights(read_base(), [other])


def test_every_layer_of_the_network_is_read() -> None:
    layers = layers_of(network("none"))
    tensors, border = read_base_weights(read_base(), layers)
    assert list(tensors) == [layer.name for layer in layers]
    assert border.shape == (3,)
    assert all(np.isfinite(value).all() for values in tensors.values() for value in values)


@pytest.mark.parametrize(
    ("backbone", "trains_norms", "words"),
    [
        ("vgg16", False, "is efficientnetb0, and the backbone is vgg16"),
        ("efficientnetb0", True, "fine_tune.batch_norm=frozen"),
    ],
)
def test_what_does_not_go_with_it_is_one_line(
    backbone: str, trains_norms: bool, words: str
) -> None:
    with pytest.raises(WeightsError, match=words):
        check_pretrained(backbone, "base", 224, trains_norms=trains_norms)
    check_pretrained("efficientnetb0", "base", 224)
