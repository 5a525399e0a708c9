"""A backbone that trains and converts in seconds, of the same layers as the real one.

Its stock twin stands for the Keras model: input layers of its own, explicit padding, fused
nothing; so pretrained runs, stock weights and their folding work as they do for EfficientNetB0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAME = "tiny"
STOCK_MEAN = (0.485, 0.456, 0.406)
STOCK_VARIANCE = (0.052, 0.050, 0.051)


def build(image: Any, *, widest: bool = False) -> Any:
    """Draw it: (N, H, W, 3) float32 network inputs -> (N, 24) features, (N, 40) with the widest."""
    from lmedge.train.backbones.graphs import averages
    from lmedge.train.backbones.layers import BorderPad, conv_bn

    x = BorderPad(kernel_size=3, name="stem_pad")(image)
    x = _rest(conv_bn(x, 8, 3, 2, "stem_conv", "stem_bn", padding="valid"))
    return averages(image, x, "block2a_activation" if widest else None)


def stock(*, include_top: bool, weights: str | None, input_shape: tuple[int, int, int]) -> Any:
    """Draw the stock twin, which takes raw pixels; `weights` is None or the path of an .h5 file."""
    from lmedge.train.backbones.graphs import averages
    from lmedge.train.backbones.layers import conv_bn
    from lmedge.train.backend import keras

    assert not include_top
    image = keras.Input(input_shape)
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Normalization(mean=STOCK_MEAN, variance=STOCK_VARIANCE)(x)
    odd = input_shape[0] % 2
    x = keras.layers.ZeroPadding2D(((odd, 1), (odd, 1)))(x)
    x = conv_bn(x, 8, 3, 2, "stem_conv", "stem_bn", padding="valid")
    model = keras.Model(image, averages(image, _rest(x), None))
    if weights is not None:
        model.load_weights(weights)
    return model


def _rest(x: Any) -> Any:
    from lmedge.train.backbones.graphs import Stage, bottleneck_block
    from lmedge.train.backbones.layers import conv_bn, swish

    x = swish(x, "stem_activation")
    x = bottleneck_block(x, Stage(3, 1, 8, 1, 1), 1, "block1a_")
    x = bottleneck_block(x, Stage(3, 1, 16, 2, 2), 2, "block2a_")
    return swish(conv_bn(x, 24, 1, 1, "top_conv", "top_bn"), "top_activation")


def save_stock_weights(path: Path, seed: int = 0) -> Path:
    """Write random stock weights, batch-norm statistics among them, as an .h5 file."""
    import numpy as np

    from lmedge.train.backend import keras

    keras.utils.set_random_seed(seed)
    model = stock(include_top=False, weights=None, input_shape=(64, 64, 3))
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            low_high = ((0.8, 1.2), (-0.2, 0.2), (-0.2, 0.2), (0.8, 1.2))
            layer.set_weights([rng.uniform(*ends, shape) for ends in low_high])
    model.save_weights(path)
    return path


@contextmanager
def installed() -> Iterator[None]:
    """Make "tiny" a known backbone meanwhile."""
    from lmedge.train.backbones import BACKBONES, Backbone, Stem, StockModel

    backbone = Backbone(
        name=NAME,
        build=build,
        pretrained=StockModel(stock, Stem("stem_pad", "stem_conv", "stem_bn")),
        groups=("stem", "block1", "block2", "top"),
        last_features=24,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, NAME, backbone)
        yield
