"""Refinement of ranges and biases, layer by layer, with the rounding of all earlier layers.

`ranges.py` looks at one tensor at a time. Two effects appear only behind the next layer. First, an
error of one sign all over an image, as from clipping, survives the averaging at the end of the
network. The rounding of single values does not. Second, a channel much smaller than the step of its
tensor is rounded to a constant, which the next layer turns into a shift of its outputs. That shift
is measured and taken from the bias (Nagel et al., arXiv:1906.04721, section 4.2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lmedge.progress import progress
from lmedge.train.backend import keras, tf

from .grid import fixed_range, is_joined, rounded_kernel, scheme_range
from .lower import consumers, input_names
from .ranges import Range

IMAGES = 24
# Tensors are kept and computed in parts of so many images. The tensors computed from them for every
# range that is tried are then small beside them.
PART = 4
# A range is searched on so many parts that they have this many positions; on one part at least.
SEARCH_POSITIONS = 50_000
FRACTIONS = (0.1, 0.15, 0.2, 0.27, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.93, 1.0)
LOW_FRACTIONS = (0.3, 0.5, 0.7, 0.85, 1.0)
SHORT_TAIL = -0.5  # a low end above this, that of a swish, is kept whole
# How much more an error that all of an image shares counts than one of a single value: the network
# ends with a mean over 7 x 7 positions.
COHERENCE = 49.0
# Over fewer values, the mean of a channel describes these images rather than the channel.
MIN_VALUES = 50_000
# The limits within which the network's own outputs are computed for every candidate.
LAST_LAYERS = 24
LAST_POSITIONS = 64
Parts = list[tf.Tensor]
Cost = Callable[[Parts], float]
_READERS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)


def refine(
    lowered: keras.Model, ranges: Mapping[str, Range], images: npt.NDArray[np.float32]
) -> dict[str, Range]:
    """Return better ranges for `lowered` and correct its biases in place.

    ranges: as from `choose_ranges`. images: (N, S, S, 3) network inputs; the first IMAGES are
    used. Ranges of tensors that anything but a convolution or a dense layer reads stay.
    """
    refined = dict(ranges)
    exact: dict[str, Parts] = {}
    rounded: dict[str, Parts] = {}
    pending = {layer.name: len(consumers(layer)) for layer in lowered.layers}
    for head in lowered.output_names:
        pending[head] += 1  # an output, even if it is also a feature of the other head
    with progress("Refining the ranges", len(lowered.layers)) as advance:
        for layer in lowered.layers:
            advance()
            if isinstance(layer, keras.layers.InputLayer):
                exact[layer.name] = rounded[layer.name] = _parts(images[:IMAGES])
                continue
            names = input_names(layer)
            target = _apply(layer, [exact[name] for name in names])
            found = _rounded(layer, [rounded[name] for name in names], target)
            for name in names:  # tensors that no other layer reads
                pending[name] -= 1
                if not pending[name]:
                    del exact[name], rounded[name]
            ends = scheme_range(layer, refined)
            if ends is not None and not is_joined(layer):
                if fixed_range(layer) is None and _is_refined(layer, lowered):
                    cost = _cost_of(layer, lowered, exact, target)
                    ends = refined[layer.name] = _search(found, target, cost)
                found = [_fake_quantize(part, ends) for part in found]
            exact[layer.name], rounded[layer.name] = target, found
    return refined


def _parts(images: npt.NDArray[np.float32]) -> Parts:
    return [tf.constant(images[at : at + PART]) for at in range(0, len(images), PART)]


def _fake_quantize(values: tf.Tensor, ends: Range) -> tf.Tensor:
    return tf.quantization.fake_quant_with_min_max_vars(values, *ends)


def _is_refined(layer: keras.layers.Layer, network: keras.Model) -> bool:
    readers = consumers(layer)
    return (
        layer.name not in network.output_names
        and bool(readers)
        and all(isinstance(reader, _READERS) for reader in readers)
    )


def _apply(layer: keras.layers.Layer, inputs: list[Parts]) -> Parts:
    return [layer(list(one) if len(one) > 1 else one[0]) for one in zip(*inputs, strict=True)]


def _rounded(layer: keras.layers.Layer, inputs: list[Parts], target: Parts) -> Parts:
    """Return the output with a rounded kernel and rounded inputs, its shift taken from the bias."""
    if not isinstance(layer, _READERS):
        return _apply(layer, inputs)
    kernel, bias = layer.get_weights()
    steps = rounded_kernel(layer, kernel)
    found = [_linear(layer, part, steps) + bias for part in inputs[0]]
    if _values(found) < MIN_VALUES:
        return found
    errors = [part - wanted for part, wanted in zip(found, target, strict=True)]
    shift = tf.reduce_mean(tf.concat([_means(error) for error in errors], 0), 0)
    layer.set_weights([kernel, bias - shift.numpy()])
    return [part - shift for part in found]


def _values(parts: Parts) -> int:
    """Return how many values a channel has."""
    return sum(int(np.prod(part.shape[:-1])) for part in parts)


def _means(values: tf.Tensor) -> tf.Tensor:
    """Return the mean of each image and channel: (N, ..., C) -> (N, C)."""
    places = list(range(1, len(values.shape) - 1))
    return tf.reduce_mean(values, places) if places else values


def _linear(layer: keras.layers.Layer, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    if isinstance(layer, keras.layers.Dense):
        return tf.matmul(x, kernel)
    padding = layer.padding.upper()
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return tf.nn.depthwise_conv2d(x, kernel, (1, *layer.strides, 1), padding)
    return tf.nn.conv2d(x, kernel, layer.strides, padding)


def _search(values: Parts, target: Parts, cost: Cost) -> Range:
    """Return the range whose error costs least."""
    low = min(0.0, *(float(tf.reduce_min(part)) for part in target))
    high = max(1e-3, *(float(tf.reduce_max(part)) for part in target))
    lows = (low,) if low > SHORT_TAIL else tuple(low * share for share in LOW_FRACTIONS)
    candidates = [(start, high * share) for share in FRACTIONS for start in lows]
    positions = _values(values[:1])
    judged = values[: max(1, -(-SEARCH_POSITIONS // positions))]

    def cost_of(ends: Range) -> float:
        return cost([_fake_quantize(part, ends) - part for part in judged])

    return min(candidates, key=cost_of)


def _cost_of(
    layer: keras.layers.Layer,
    network: keras.Model,
    exact: Mapping[str, Parts],
    target: Parts,
) -> Cost:
    """Return what an error of this layer's output costs in what the next layers compute.

    The error may be that of the first parts alone. Near the end of the network, it is the cost in
    the network's own outputs, which takes little time there.
    """
    rest = network.layers[network.layers.index(layer) + 1 :]
    if len(rest) <= LAST_LAYERS and np.prod(target[0].shape[1:-1]) <= LAST_POSITIONS:
        wanted = _outputs(network, rest, {**exact, layer.name: target})

        def in_the_outputs(errors: Parts) -> float:
            moved = [part + error for part, error in zip(target, errors, strict=True)]
            found = _outputs(network, rest, {**exact, layer.name: moved})
            return sum(
                float(tf.reduce_mean((a - b) ** 2) / (tf.math.reduce_variance(b) + 1e-6))
                for a, b in zip(found, wanted, strict=True)
            )

        return in_the_outputs
    readers = [(reader, reader.get_weights()[0]) for reader in consumers(layer)]

    def in_the_next(errors: Parts) -> float:
        return sum(
            _size([_linear(reader, error, kernel) for error in errors])
            for reader, kernel in readers
        )

    return in_the_next


def _outputs(
    network: keras.Model, rest: Sequence[keras.layers.Layer], known: Mapping[str, Parts]
) -> list[tf.Tensor]:
    """Return the logits of each head from what is known in front of `rest`."""
    values = dict(known)
    for layer in rest:
        values[layer.name] = _apply(layer, [values[name] for name in input_names(layer)])
    return [tf.concat(values[head], 0) for head in network.output_names]


def _size(errors: Parts) -> float:
    """Return the mean squared error of parts (N, ..., C), an image's common error COHERENCE times.

    The error that all images share is left out if `_rounded` takes it from the bias.
    """
    squares = tf.concat([_means(tf.square(error)) for error in errors], 0)
    shared = tf.concat([_means(error) for error in errors], 0)
    common = tf.reduce_mean(shared, 0) if _values(errors) >= MIN_VALUES else 0.0
    return float(
        tf.reduce_mean(squares)
        - tf.reduce_mean(common**2)
        + COHERENCE * tf.reduce_mean((shared - common) ** 2)
    )
