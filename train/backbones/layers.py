"""The layers of the backbones: one layer for each operation of the converted file."""

from __future__ import annotations

from typing import Any

from ..backend import keras, tf


class BorderPad(keras.layers.Layer):  # type: ignore[misc]
    """Pad as "same" does before a convolution, with one colour instead of zero.

    The colour is the weight `border`, (3,) float32 in the units of the network's input.
    (N, H, W, 3) -> (N, H + pad, W + pad, 3), where pad follows from kernel_size and strides.
    """

    def __init__(self, kernel_size: int, strides: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_size = kernel_size
        self.strides = strides

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
            before, after = same_padding(inputs.shape[axis], self.kernel_size, self.strides)
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
        config = {"kernel_size": self.kernel_size, "strides": self.strides}
        return {**super().get_config(), **config}


def same_padding(length: int, kernel_size: int, strides: int) -> tuple[int, int]:
    """Return (before, after), the pixels that TensorFlow pads for "same"."""
    total = max((-(-length // strides) - 1) * strides + kernel_size - length, 0)
    return total // 2, total - total // 2


def initializer(mode: str = "fan_out") -> keras.initializers.Initializer:
    """Return He's initializer (arXiv:1502.01852), by "fan_in" or "fan_out"."""
    return keras.initializers.VarianceScaling(2.0, mode, "truncated_normal")


def swish(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Build x * sigmoid(x)."""
    return keras.layers.Activation("swish", name=name)(x)


def relu6(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Build min(max(x, 0), 6)."""
    return keras.layers.ReLU(6.0, name=name)(x)


def conv_bn(
    x: keras.KerasTensor,
    filters: int,
    size: int,
    strides: int,
    conv_name: str,
    bn_name: str,
    padding: str = "same",
) -> keras.KerasTensor:
    """Convolve without a bias, then normalise by batch."""
    x = keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=initializer(),
        name=conv_name,
    )(x)
    return keras.layers.BatchNormalization(name=bn_name)(x)
