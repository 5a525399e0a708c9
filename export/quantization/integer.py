"""The int8 network in whole numbers, rounded as the file's operations round.

If floats simulate the file, sums differ in their last bit. Now and then one value is rounded the
other way, and the next layers spread it. A dozen layers on, most values of the image have been
rounded anew, and the logits are off by as much as rounding itself costs. Here a tensor therefore is
its steps: whole numbers in float32, whose sums are exact below 2^24. Each operation ends with the
roundings of XNNPACK's kernel, with the same float32 factors. All kernels for x86-64 round alike.
The docstrings name them.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from lmedge.train.backbones import BorderPad
from lmedge.train.backend import keras, tf

from .grid import INPUT_RANGE, Grid, grid_of, kernel_axis, kernel_scale
from .lower import consumers, input_names
from .means import mean_factor

_LINEAR = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps:
    """A tensor of the file: (N, ...) float32 whole numbers above the zero point, and its grid."""

    values: tf.Tensor
    grid: Grid

    def real(self) -> tf.Tensor:
        """Return the values that the steps represent, float32."""
        return self.values * self.grid.scale


def run_integer(network: keras.Model, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Run a network of `quantize` on (N, S, S, 3) network inputs: the logits of each head."""
    found = all_steps(network, images)
    return {head: found[head].real() for head in network.output_names}


def all_steps(network: keras.Model, images: tf.Tensor) -> dict[str, Steps]:
    """Return the steps of every tensor by the name of its layer.

    A convolution in front of a ReLU has those of the ReLU: they are one operation. Raises
    ValueError for a layer that has no int8 operation.
    """
    found: dict[str, Steps] = {}
    for layer in network.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        inputs = [found[name] for name in input_names(layer) if name in found]
        found[layer.name] = _apply(layer, inputs, images)
    return found


def _apply(wrapper: keras.layers.Layer, inputs: list[Steps], images: tf.Tensor) -> Steps:
    """Return the output of one wrapped layer."""
    layer, output = wrapper.layer, wrapper.quantize_config.output
    if not inputs:
        return _quantized(images, grid_of(INPUT_RANGE))
    if isinstance(layer, keras.layers.ReLU):
        return inputs[0]  # the convolution before it has cut off the values outside its range
    if isinstance(layer, keras.layers.MaxPooling2D):
        return Steps(values=layer.call(inputs[0].values), grid=inputs[0].grid)
    if output is None:
        (output,) = {one.quantize_config.output for one in consumers(wrapper)}
    for kinds, operation in _OPERATIONS:
        if isinstance(layer, kinds):
            return operation(wrapper, inputs, grid_of(output))
    raise ValueError(f"{layer.name} has no int8 operation")


def _cut(values: tf.Tensor, grid: Grid) -> Steps:
    return Steps(values=tf.clip_by_value(values, grid.lowest, grid.highest), grid=grid)


def _quantized(values: tf.Tensor, grid: Grid) -> Steps:
    return _cut(tf.round(values / grid.scale), grid)


def _linear(wrapper: keras.layers.Layer, inputs: list[Steps], grid: Grid) -> Steps:
    """Convolve or multiply: qs8-qc8w, int32 sums times one float32 a channel, halves to even."""
    (x,), layer, name = inputs, wrapper.layer, wrapper.quantize_config.kernel
    kernel = next(one for one in wrapper.weights if one.name.endswith(f"{name}:0"))
    scale = kernel_scale(kernel, kernel_axis(layer)[1])
    steps, scale = tf.round(kernel / scale), tf.reshape(scale, [-1])
    wide = tf.cast(scale, tf.float64)
    bias = tf.cast(layer.bias, tf.float64) / (wide * x.grid.exact)
    if isinstance(layer, keras.layers.Dense):
        total = tf.matmul(x.values, steps)
    elif isinstance(layer, keras.layers.DepthwiseConv2D):
        strides = (1, *layer.strides, 1)
        total = tf.nn.depthwise_conv2d(x.values, steps, strides, layer.padding.upper())
    else:
        total = tf.nn.conv2d(x.values, steps, layer.strides, layer.padding.upper())
    total = tf.nn.bias_add(total, tf.cast(tf.round(bias), tf.float32))
    return _cut(tf.round(total * _factor(wide, x.grid, grid)), grid)


def _factor(scale: tf.Tensor, before: Grid, after: Grid) -> tf.Tensor:
    """Return scale * before / after, each step rounded to float32.

    The casts keep TensorFlow's optimizer from dividing the two constants first, which rounds
    otherwise.
    """
    product = tf.cast(scale * float(before.scale), tf.float32)
    return tf.cast(tf.cast(product, tf.float64) / float(after.scale), tf.float32)


def _border(wrapper: keras.layers.Layer, inputs: list[Steps], grid: Grid) -> Steps:
    return _quantized(wrapper.layer.call(inputs[0].real()), grid)


def _sigmoid(wrapper: keras.layers.Layer, inputs: list[Steps], grid: Grid) -> Steps:
    """Look up: x8-lut, filled by SigmoidOp in reference/unary-elementwise.cc."""
    if wrapper.layer.get_config()["activation"] != "sigmoid":
        raise ValueError(f"{wrapper.layer.name} has no int8 operation")
    (x,) = inputs
    real = np.arange(-128 - x.grid.zero, 128 - x.grid.zero, dtype=np.float32) * x.grid.scale
    exact = (1 / (1 + np.exp(-real.astype(np.float64)))).astype(np.float32)
    table = np.clip(np.rint(exact / grid.scale), grid.lowest, grid.highest).astype(np.float32)
    places = tf.cast(x.values - x.grid.lowest, tf.int32)
    return Steps(values=tf.gather(tf.constant(table), places), grid=grid)


def _softmax(_: keras.layers.Layer, inputs: list[Steps], grid: Grid) -> Steps:
    """Softmax of TensorFlow Lite itself, optimized_ops.h: a table of exponentials in float32."""
    (x,) = inputs
    below = np.arange(-255, 1, dtype=np.float32) * x.grid.scale
    table = tf.constant(np.exp(below.astype(np.float64)).astype(np.float32))
    top = tf.reduce_max(x.values, -1, keepdims=True)
    powers = tf.gather(table, tf.cast(x.values - top, tf.int32) + 255)
    factor = 1.0 / (tf.reduce_sum(powers, -1, keepdims=True) * grid.scale)
    return _cut(tf.round(powers * factor), grid)


def _multiply(_: keras.layers.Layer, inputs: list[Steps], grid: Grid) -> Steps:
    """Multiply: qs8-vmul-minmax-fp32, one float32 factor, halves to even."""
    a, b = inputs
    return _cut(tf.round(a.values * b.values * (a.grid.scale * b.grid.scale / grid.scale)), grid)


def _add(_: keras.layers.Layer, inputs: list[Steps], grid: Grid) -> Steps:
    """Add: qs8-vadd-minmax, factors of 21 bits and a shift, halves up.

    The factors are those of xnn_init_qs8_add_minmax_scalar_params; float64 holds the sums exactly.
    """
    ratios = [one.grid.scale / grid.scale for one in inputs]
    shift = 20 - int(np.floor(np.log2(max(ratios))))
    factors = [float(np.rint(np.ldexp(ratio, shift))) for ratio in ratios]
    terms = zip(inputs, factors, strict=True)
    total = tf.add_n([tf.cast(one.values, tf.float64) * factor for one, factor in terms])
    return _cut(tf.cast(tf.floor(total * 2.0**-shift + 0.5), tf.float32), grid)


def _mean(wrapper: keras.layers.Layer, inputs: list[Steps], grid: Grid) -> Steps:
    """Average over height and width: qs8-rdsum and a conversion in float32 (reduce-nd.c).

    The kernel sums from -128 on and moves by the zero points at the end, in float32, which rounds.
    """
    (x,) = inputs
    count = int(np.prod(x.values.shape[1:3]))
    factor = mean_factor(x.grid, grid, count)
    zero = np.float32(grid.zero) - np.float32(count * x.grid.zero) * factor
    total = tf.reduce_sum(x.values, [1, 2], keepdims=wrapper.layer.keepdims) + np.float32(
        count * x.grid.zero
    )
    return _cut(tf.round(total * factor + zero) - np.float32(grid.zero), grid)


def _concatenate(wrapper: keras.layers.Layer, inputs: list[Steps], grid: Grid) -> Steps:
    parts = [_converted(one, grid).values for one in inputs]
    return Steps(values=tf.concat(parts, wrapper.layer.axis), grid=grid)


def _converted(x: Steps, grid: Grid) -> Steps:
    """Bring to another grid: qs8-vcvt, a factor of 8 bits behind the point, halves up."""
    if x.grid == grid:
        return x
    factor = np.float32(np.rint(np.float32(256) * (x.grid.scale / grid.scale)))
    return _cut(tf.floor(x.values * factor / 256 + 0.5), grid)


_OPERATIONS = (
    (_LINEAR, _linear),
    (BorderPad, _border),
    (keras.layers.Activation, _sigmoid),
    (keras.layers.Softmax, _softmax),
    (keras.layers.Multiply, _multiply),
    (keras.layers.Add, _add),
    (keras.layers.GlobalAveragePooling2D, _mean),
    (keras.layers.Concatenate, _concatenate),
)
