"""The values that a tensor of the file can have: steps of one size, zero among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lmedge.image import PIXEL_MEAN, PIXEL_SCALE
from lmedge.train.backbones import BorderPad
from lmedge.train.backend import keras, tf

from .lower import INPUT, consumers
from .ranges import LEVELS, Range

INPUT_RANGE: Range = ((0 - PIXEL_MEAN) / PIXEL_SCALE, (255 - PIXEL_MEAN) / PIXEL_SCALE)
SIGMOID_RANGE: Range = (0.0, 255 / 256)
KERNEL_LEVELS = 127.0
SPLIT = 2.0**38 + 1  # Veltkamp's: leaves 53 - 38 bits of a float64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """The 256 values of an int8 tensor: (step - zero) * scale, steps from -128 to 127.

    The converter computes with `exact`; `scale` is its value in the file, a float32.
    """

    exact: float
    zero: int

    @property
    def scale(self) -> np.float32:
        """The size of a step, float32."""
        return np.float32(self.exact)

    @property
    def lowest(self) -> float:
        """The lowest value in steps above zero."""
        return float(-128 - self.zero)

    @property
    def highest(self) -> float:
        """The highest value in steps above zero."""
        return float(127 - self.zero)


def grid_of(ends: Range) -> Grid:
    """Return the grid that the converter makes of a range, whose ends reach it as float32."""
    low, high = (float(np.float32(end)) for end in ends)
    scale = (high - low) / LEVELS
    return Grid(exact=scale, zero=int(np.clip(round(-128 - low / scale), -128, 127)))


def kernel_scale(kernel: tf.Tensor, axis: int) -> tf.Tensor:
    """Return the step of each channel, float32, shaped to divide the kernel.

    It has 15 significant bits: 127 steps of it are then exact in float32, and the converter, which
    divides a channel's largest value by 127, finds this very step. float64, because TensorFlow's
    optimizer moves the constants of a traced graph, which must not move the step.
    """
    axes = [other for other in range(len(kernel.shape)) if other != axis]
    limit = tf.cast(tf.reduce_max(tf.abs(kernel), axes, keepdims=True), tf.float64)
    scale = tf.maximum(limit, 1e-8) / KERNEL_LEVELS
    high = scale * SPLIT
    return tf.cast(high - (high - scale), tf.float32)


def on_grid(kernel: tf.Tensor, axis: int) -> tf.Tensor:
    """Return the kernel with every value rounded to a step of its channel."""
    scale = kernel_scale(kernel, axis)
    return tf.round(kernel / scale) * scale


def kernel_axis(layer: keras.layers.Layer) -> tuple[str | None, int]:
    """Return the name of the kernel and the axis of its output channels; None without one."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return "depthwise_kernel", 2
    if isinstance(layer, keras.layers.Conv2D):
        return "kernel", 3
    if isinstance(layer, keras.layers.Dense):
        return "kernel", 1
    return None, -1


def rounded_kernel(layer: keras.layers.Layer, kernel: npt.NDArray[np.float32]) -> tf.Tensor:
    """Return the kernel of a convolution or dense layer as the scheme rounds it."""
    _, axis = kernel_axis(layer)
    return on_grid(tf.constant(kernel), axis)


def fixed_range(layer: keras.layers.Layer) -> Range | None:
    """Return the only range that a lowered layer's output can have; None if it is calibrated."""
    if layer.name == INPUT or isinstance(layer, BorderPad):
        return INPUT_RANGE
    activation = layer.get_config().get("activation")
    if isinstance(layer, keras.layers.Activation) and activation == "sigmoid":
        return SIGMOID_RANGE
    return SIGMOID_RANGE if isinstance(layer, keras.layers.Softmax) else None


def scheme_range(layer: keras.layers.Layer, ranges: Mapping[str, Range]) -> Range | None:
    """Return the range that a lowered layer's output is rounded over; None if it is not rounded.

    ranges: from calibration, by layer name, of the outputs whose range nothing else fixes.
    """
    fixed = fixed_range(layer)
    if fixed is not None:
        return fixed
    if isinstance(layer, keras.layers.MaxPooling2D):
        return None  # a scale of its own would be an operation of its own
    followers = consumers(layer)
    if followers and all(isinstance(follower, keras.layers.ReLU) for follower in followers):
        return None
    return ranges[followers[0].name if is_joined(layer) else layer.name]


def is_joined(layer: keras.layers.Layer) -> bool:
    """Return true if a lowered layer is an average that is only joined with others.

    It has the range of what they are joined to. A range of its own would be rounded twice.
    """
    followers = consumers(layer)
    return (
        isinstance(layer, keras.layers.GlobalAveragePooling2D)
        and len(followers) == 1
        and isinstance(followers[0], keras.layers.Concatenate)
    )
