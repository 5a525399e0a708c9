"""Backbones as flat graphs that quantize: one layer an operation, stock layer names.

The stock Keras EfficientNetB0 cannot be quantized whole: its input layers, its fused activations
and its pooling in the squeeze-and-excite branches leave float islands in the converted file. The
same network is written here with each activation a layer of its own, pooling that keeps its
dimensions and no input layers: what those did is folded into the stem when stock weights are
loaded. Strided convolutions use "same" padding, which for every input size pads as the stock
network's explicit padding layers do. The stem alone pads by a layer of its own: a zero behind the
stock input layers is a colour before them, which "same" padding cannot give.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmedge.errors import RecipeError, WeightsError
from lmedge.image import PIXEL_MEAN, PIXEL_SCALE

from .backend import keras, tf

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
SQUEEZE_RATIO = 0.25


@dataclasses.dataclass(frozen=True)
class Stage:
    """One row of table 1 of the EfficientNet paper (arXiv:1905.11946)."""

    kernel_size: int
    repeats: int
    filters: int
    expand_ratio: int
    strides: int


EFFICIENTNETB0 = (
    Stage(3, 1, 16, 1, 1),
    Stage(3, 2, 24, 6, 2),
    Stage(5, 2, 40, 6, 2),
    Stage(3, 3, 80, 6, 2),
    Stage(5, 3, 112, 6, 1),
    Stage(5, 4, 192, 6, 2),
    Stage(3, 1, 320, 6, 1),
)


class BorderPad(keras.layers.Layer):  # type: ignore[misc]
    """Pad as "same" does before a convolution of stride 2, with one colour instead of zero.

    The colour is the weight `border`, (3,) float32 in the units of the network's input.
    (N, H, W, 3) -> (N, H + pad, W + pad, 3).
    """

    def __init__(self, kernel_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_size = kernel_size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weight."""
        self.border = self.add_weight(
            "border", shape=(input_shape[-1],), initializer="zeros", trainable=False
        )
        self._shape = (None, *input_shape[1:])
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Concatenate the border along height, then along width."""
        if None in inputs.shape[1:]:  # batches of a Sequence come without a static shape
            inputs = tf.ensure_shape(inputs, self._shape)
        for axis in (1, 2):
            before, after = _same_padding(inputs.shape[axis], self.kernel_size)
            parts = [self._strip(inputs, axis, before), inputs, self._strip(inputs, axis, after)]
            inputs = tf.concat([part for part in parts if part is not None], axis)
        return inputs

    def _strip(self, inputs: tf.Tensor, axis: int, width: int) -> tf.Tensor | None:
        if width == 0:
            return None
        batch = inputs.shape[0] or tf.shape(inputs)[0]
        shape = [batch, inputs.shape[1], inputs.shape[2], inputs.shape[3]]
        shape[axis] = width
        return tf.broadcast_to(self.border, shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "kernel_size": self.kernel_size}


def _same_padding(length: int, kernel_size: int, strides: int = 2) -> tuple[int, int]:
    """(before, after) as TensorFlow pads for "same"."""
    total = max((-(-length // strides) - 1) * strides + kernel_size - length, 0)
    return total // 2, total - total // 2


def _initializer() -> keras.initializers.Initializer:
    return keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")


def _swish(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.Activation("swish", name=name)(x)


def _conv_bn(
    x: keras.KerasTensor,
    filters: int,
    size: int,
    strides: int,
    conv_name: str,
    bn_name: str,
    padding: str = "same",
) -> keras.KerasTensor:
    x = keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=_initializer(),
        name=conv_name,
    )(x)
    return keras.layers.BatchNormalization(name=bn_name)(x)


def _squeeze_excite(x: keras.KerasTensor, reduced: int, prefix: str) -> keras.KerasTensor:
    channels = x.shape[-1]
    s = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{prefix}se_squeeze")(x)
    s = keras.layers.Conv2D(
        reduced, 1, kernel_initializer=_initializer(), name=f"{prefix}se_reduce"
    )(s)
    s = _swish(s, f"{prefix}se_reduce_activation")
    s = keras.layers.Conv2D(
        channels, 1, kernel_initializer=_initializer(), name=f"{prefix}se_expand"
    )(s)
    s = keras.layers.Activation("sigmoid", name=f"{prefix}se_expand_activation")(s)
    return keras.layers.Multiply(name=f"{prefix}se_excite")([x, s])


def _block(x: keras.KerasTensor, stage: Stage, strides: int, prefix: str) -> keras.KerasTensor:
    """One mobile inverted bottleneck with squeeze-and-excite."""
    entry, channels = x, x.shape[-1]
    if stage.expand_ratio != 1:
        x = _conv_bn(
            x, channels * stage.expand_ratio, 1, 1, f"{prefix}expand_conv", f"{prefix}expand_bn"
        )
        x = _swish(x, f"{prefix}expand_activation")
    x = keras.layers.DepthwiseConv2D(
        stage.kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        depthwise_initializer=_initializer(),
        name=f"{prefix}dwconv",
    )(x)
    x = keras.layers.BatchNormalization(name=f"{prefix}bn")(x)
    x = _swish(x, f"{prefix}activation")
    x = _squeeze_excite(x, max(1, int(channels * SQUEEZE_RATIO)), prefix)
    x = _conv_bn(x, stage.filters, 1, 1, f"{prefix}project_conv", f"{prefix}project_bn")
    if strides == 1 and channels == stage.filters:
        x = keras.layers.Add(name=f"{prefix}add")([x, entry])
    return x


def efficientnetb0(image: keras.KerasTensor) -> keras.KerasTensor:
    """EfficientNetB0 up to its pooled features.

    image: (N, H, W, 3) float32, (pixel - PIXEL_MEAN) / PIXEL_SCALE, RGB. Returns (N, 1280).
    """
    x = BorderPad(kernel_size=3, name="stem_pad")(image)
    x = _conv_bn(x, 32, 3, 2, "stem_conv", "stem_bn", padding="valid")
    x = _swish(x, "stem_activation")
    for number, stage in enumerate(EFFICIENTNETB0, start=1):
        for repeat in range(stage.repeats):
            strides = stage.strides if repeat == 0 else 1
            x = _block(x, stage, strides, f"block{number}{chr(ord('a') + repeat)}_")
    x = _swish(_conv_bn(x, 1280, 1, 1, "top_conv", "top_bn"), "top_activation")
    return keras.layers.GlobalAveragePooling2D(name="features")(x)


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network body: how to draw it, and the stock model its ImageNet weights come from.

    `groups` names the layer-name prefixes from the input to the output; fine-tuning from a group
    on trains that group and all after it.
    """

    name: str
    build: Callable[[keras.KerasTensor], keras.KerasTensor]
    stock: Callable[..., keras.Model]
    stem: tuple[str, str, str]
    groups: tuple[str, ...]


BACKBONES = {
    "efficientnetb0": Backbone(
        name="efficientnetb0",
        build=efficientnetb0,
        stock=keras.applications.EfficientNetB0,
        stem=("stem_pad", "stem_conv", "stem_bn"),
        groups=("stem", *(f"block{n}" for n in range(1, 8)), "top"),
    ),
}


def load_stock_weights(model: keras.Model, backbone: Backbone, weights: str) -> None:
    """Copy ImageNet weights into `model` by layer name and fold the stock input layers.

    weights: "imagenet" (downloaded as Keras does) or the path of a stock HDF5 file without top.
    Raises WeightsError when they cannot be had or do not fit.
    """
    stock = _stock_model(backbone, weights)
    ours = {layer.name for layer in model.layers}
    for layer in stock.layers:
        if layer.name in ours and layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    gain, offset = _input_convention(stock, backbone.stem[1])
    _fold_input(model, backbone, gain, offset)


def check_start(backbone: str, start: str) -> None:
    """Raise RecipeError unless `start` is a group of layers that fine-tuning can begin with."""
    groups = BACKBONES[backbone].groups
    if start not in groups:
        raise RecipeError(
            f"recipe value fine_tune.start: {start!r} is not a group of {backbone}; allowed: "
            f"{', '.join(groups)}"
        )


def check_weights(backbone: str, weights: str) -> None:
    """Raise WeightsError at once for a path that holds no HDF5 file; see `load_stock_weights`."""
    if weights in ("imagenet", "none"):
        return
    path = Path(weights)
    try:
        with path.open("rb") as stream:
            signature = stream.read(len(HDF5_SIGNATURE))
    except OSError as error:
        raise WeightsError(
            f"cannot read the weights {path}: {error.strerror}; pass --weights PATH of a stock "
            f"{backbone} file without top (.h5), or --weights none"
        ) from error
    if signature != HDF5_SIGNATURE:
        raise WeightsError(f"{path} is not an HDF5 weights file; pass a stock .h5 file")


def _stock_model(backbone: Backbone, weights: str) -> keras.Model:
    check_weights(backbone.name, weights)
    try:
        return backbone.stock(include_top=False, weights=weights, input_shape=(64, 64, 3))
    except Exception as error:  # Keras wraps a failed download in a bare Exception
        if weights != "imagenet":
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise WeightsError(
                f"{weights} does not hold {backbone.name} weights without top: {reason}"
            ) from error
        raise WeightsError(
            "the ImageNet weights cannot be downloaded here; fetch the file elsewhere and pass its "
            "path with --weights PATH, or train from scratch with --weights none"
        ) from error


def _input_convention(
    stock: keras.Model, stem: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Per-channel gain and offset of the stock input layers: y = gain * pixel + offset.

    They are measured, not assumed: the stock layers differ between the two kinds of weights.
    """
    before = stock.get_layer(stem).input
    # The explicit padding before a strided stem adds zeros at the border only.
    probe = keras.Model(stock.input, before)
    low, middle, high = (
        probe(np.full((1, 64, 64, 3), value, np.float32)).numpy()[0, 32, 32].astype(np.float64)
        for value in (0.0, 100.0, 200.0)
    )
    if not np.allclose(high - middle, middle - low, rtol=1e-3, atol=1e-5):
        raise WeightsError("the stock input layers are not affine; these weights are not supported")
    return (high - low) / 200.0, low


def _fold_input(
    model: keras.Model,
    backbone: Backbone,
    gain: npt.NDArray[np.float64],
    offset: npt.NDArray[np.float64],
) -> None:
    """Fold y = gain * pixel + offset into the stem, whose input is (pixel - mean) / scale.

    With pixel = scale * x + mean: y = (gain * scale) x + (gain * mean + offset). The gain goes
    into the kernel; what the constant adds to each filter is taken from the batch-norm mean. The
    border is the colour for which y is zero.
    """
    pad, conv, norm = (model.get_layer(name) for name in backbone.stem)
    pad.set_weights([((-offset / gain - PIXEL_MEAN) / PIXEL_SCALE).astype(np.float32)])
    (kernel,) = conv.get_weights()
    gamma, beta, mean, variance = norm.get_weights()
    constant = np.einsum("hwcf,c->f", kernel.astype(np.float64), gain * PIXEL_MEAN + offset)
    conv.set_weights([(kernel * (gain * PIXEL_SCALE)[None, None, :, None]).astype(np.float32)])
    norm.set_weights([gamma, beta, (mean - constant).astype(np.float32), variance])
