"""EfficientNetB0, EfficientNet-Lite0 and VGG16 as flat graphs, layers named as in stock Keras.

EfficientNet-Lite0 has the names of the stock EfficientNetB0. Strided convolutions use
"same" padding, which for every input size pads as the stock network's explicit padding layers do.
The stem alone pads by a layer of its own, see `convention`.

EfficientNet-Lite0 is the same network for devices: no squeeze-and-excite and ReLU6 in place of
swish (github.com/tensorflow/tpu, models/official/efficientnet/lite). Its stem and head have the
widths of EfficientNetB0, as those of all Lite networks.
"""

from __future__ import annotations

import dataclasses

from ..backend import keras
from .layers import BorderPad, conv_bn, initializer, relu6, swish

SQUEEZE_RATIO = 0.25
EFFICIENTNET_GROUPS = ("stem", *(f"block{n}" for n in range(1, 8)), "top")


@dataclasses.dataclass(frozen=True)
class Stage:
    """One row of table 1 of the EfficientNet paper (arXiv:1905.11946)."""

    kernel_size: int
    repeats: int
    filters: int
    expand_ratio: int
    strides: int


STAGES = (
    Stage(3, 1, 16, 1, 1),
    Stage(3, 2, 24, 6, 2),
    Stage(5, 2, 40, 6, 2),
    Stage(3, 3, 80, 6, 2),
    Stage(5, 3, 112, 6, 1),
    Stage(5, 4, 192, 6, 2),
    Stage(3, 1, 320, 6, 1),
)


# The widest layer before the last. It knows shapes that the last, made for ImageNet's classes, has
# given up.
WIDEST = "block7a_expand_activation"


def efficientnetb0(image: keras.KerasTensor, *, widest: bool = False) -> keras.KerasTensor:
    """EfficientNetB0 up to its pooled features.

    Args:
        image: (N, H, W, 3) float32, (pixel - PIXEL_MEAN) / PIXEL_SCALE, RGB.
        widest: true if the average over the layer WIDEST comes before that over the last.

    Returns:
        (N, 1280), or (N, 2432) with the widest layer.
    """
    return _body(image, lite=False, widest=widest)


def efficientnet_lite0(image: keras.KerasTensor, *, widest: bool = False) -> keras.KerasTensor:
    """EfficientNet-Lite0 up to its pooled features; input and output as `efficientnetb0`."""
    return _body(image, lite=True, widest=widest)


def _body(image: keras.KerasTensor, *, lite: bool, widest: bool) -> keras.KerasTensor:
    activation = relu6 if lite else swish
    x = BorderPad(kernel_size=3, name="stem_pad")(image)
    x = conv_bn(x, 32, 3, 2, "stem_conv", "stem_bn", padding="valid")
    x = activation(x, "stem_activation")
    for number, stage in enumerate(STAGES, start=1):
        for repeat in range(stage.repeats):
            strides = stage.strides if repeat == 0 else 1
            x = bottleneck_block(
                x, stage, strides, f"block{number}{chr(ord('a') + repeat)}_", lite=lite
            )
    x = activation(conv_bn(x, 1280, 1, 1, "top_conv", "top_bn"), "top_activation")
    return averages(image, x, WIDEST if widest else None)


def averages(
    image: keras.KerasTensor, last: keras.KerasTensor, widest: str | None
) -> keras.KerasTensor:
    """Return the features (N, F): the average over the layer `widest`, if any, and over the last.

    image, last: the input and the last map, (N, h, w, C), of a backbone that has a layer `widest`.
    """
    if widest is None:
        return keras.layers.GlobalAveragePooling2D(name="features")(last)
    wide = keras.Model(image, last).get_layer(widest).output
    return keras.layers.Concatenate(name="features")(
        [
            keras.layers.GlobalAveragePooling2D(name="widest_average")(wide),
            keras.layers.GlobalAveragePooling2D(name="last_average")(last),
        ]
    )


def bottleneck_block(
    x: keras.KerasTensor, stage: Stage, strides: int, prefix: str, *, lite: bool = False
) -> keras.KerasTensor:
    """One mobile inverted bottleneck, with squeeze-and-excite unless `lite`."""
    entry, channels, activation = x, x.shape[-1], relu6 if lite else swish
    if stage.expand_ratio != 1:
        x = conv_bn(
            x, channels * stage.expand_ratio, 1, 1, f"{prefix}expand_conv", f"{prefix}expand_bn"
        )
        x = activation(x, f"{prefix}expand_activation")
    x = keras.layers.DepthwiseConv2D(
        stage.kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        depthwise_initializer=initializer(),
        name=f"{prefix}dwconv",
    )(x)
    x = keras.layers.BatchNormalization(name=f"{prefix}bn")(x)
    x = activation(x, f"{prefix}activation")
    if not lite:
        x = _squeeze_excite(x, max(1, int(channels * SQUEEZE_RATIO)), prefix)
    x = conv_bn(x, stage.filters, 1, 1, f"{prefix}project_conv", f"{prefix}project_bn")
    if strides == 1 and channels == stage.filters:
        x = keras.layers.Add(name=f"{prefix}add")([x, entry])
    return x


def _squeeze_excite(x: keras.KerasTensor, reduced: int, prefix: str) -> keras.KerasTensor:
    channels = x.shape[-1]
    s = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{prefix}se_squeeze")(x)
    s = keras.layers.Conv2D(
        reduced, 1, kernel_initializer=initializer(), name=f"{prefix}se_reduce"
    )(s)
    s = swish(s, f"{prefix}se_reduce_activation")
    s = keras.layers.Conv2D(
        channels, 1, kernel_initializer=initializer(), name=f"{prefix}se_expand"
    )(s)
    s = keras.layers.Activation("sigmoid", name=f"{prefix}se_expand_activation")(s)
    return keras.layers.Multiply(name=f"{prefix}se_excite")([x, s])


# (convolutions, filters) of each VGG block; a pooling layer ends it.
VGG_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
VGG_GROUPS = tuple(f"block{number}" for number in range(1, len(VGG_BLOCKS) + 1))


def vgg16(image: keras.KerasTensor, *, widest: bool = False) -> keras.KerasTensor:
    """VGG16 without its dense layers, up to the average over block5_pool.

    image: (N, H, W, 3) float32, (pixel - PIXEL_MEAN) / PIXEL_SCALE, RGB, H and W at least 32.
    widest: changes nothing, since no layer is wider than the last. Returns (N, 512).
    """
    x = BorderPad(kernel_size=3, strides=1, name="block1_pad")(image)
    for number, (convolutions, filters) in enumerate(VGG_BLOCKS, start=1):
        for repeat in range(1, convolutions + 1):
            name = f"block{number}_conv{repeat}"
            x = keras.layers.Conv2D(
                filters,
                3,
                padding="valid" if name == "block1_conv1" else "same",  # block1_pad did it
                # Nothing normalises in between: "fan_in" keeps the size of the activations.
                kernel_initializer=initializer("fan_in"),
                name=name,
            )(x)
            x = keras.layers.ReLU(name=f"{name}_activation")(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{number}_pool")(x)
    return keras.layers.GlobalAveragePooling2D(name="features")(x)
