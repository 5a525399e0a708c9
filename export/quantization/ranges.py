"""The range of each tensor, from the values of the float network on calibration images.

A range is chosen for the least mean squared error. If the tensor feeds a swish or a sigmoid, the
error is taken behind it: the long negative tail in front of a swish carries nothing, and steps
spent on it cost accuracy. An error in a channel counts as much as the next convolution multiplies
it. A few channels of the early blocks reach ten times the range of all others, but their kernels
are as much smaller. Without these weights they would set the step for all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from lmedge.train.backend import keras, tf

from .lower import GATE, consumers

Samples = npt.NDArray[np.float32]
Range = tuple[float, float]
LEVELS = 255
SAMPLES_PER_IMAGE = 1024
POINTS = 4096
TAIL = 64
# In front of a swish a cut at -1.5 would turn everything below it into the swish's minimum, an
# error of one sign that the next convolution adds up; at -4 at most 0.07 is left of it.
SWISH_FLOOR = -4.0
_READERS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observed:
    """Values of one tensor: a sample of them, the channel of each, and the extremes of all."""

    samples: Samples
    channels: npt.NDArray[np.int16]
    low: float
    high: float


def observe(
    network: keras.Model, images: npt.NDArray[np.float32], rng: np.random.Generator, batch: int = 4
) -> dict[str, Observed]:
    """Sample the output of every layer of the lowered network on (N, S, S, 3) network inputs."""
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    probe = keras.Model(network.input, [layer.output for layer in layers])
    picks = [_pick(int(np.prod(layer.output.shape[1:])), rng) for layer in layers]

    def sample(x: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        found = []
        for output, pick in zip(probe(x, training=False), picks, strict=True):
            flat = tf.reshape(output, [tf.shape(output)[0], -1])
            values = flat if pick is None else tf.gather(flat, pick, axis=1)
            found.append((tf.reshape(values, [-1]), tf.reduce_min(flat), tf.reduce_max(flat)))
        return found

    run = tf.function(sample, autograph=False, reduce_retracing=True)
    parts = [run(tf.constant(images[at : at + batch])) for at in range(0, len(images), batch)]
    observed = {}
    for number, layer in enumerate(layers):
        values = np.concatenate([part[number][0].numpy() for part in parts])
        low = min(float(part[number][1]) for part in parts)
        high = max(float(part[number][2]) for part in parts)
        observed[layer.name] = Observed(
            samples=values,
            channels=_channels(layer, picks[number], len(values)),
            low=low,
            high=high,
        )
    return observed


def _channels(
    layer: keras.layers.Layer, pick: npt.NDArray[np.int64] | None, count: int
) -> npt.NDArray[np.int16]:
    """Return the channel of each sampled value; channels are the last axis."""
    size = int(np.prod(layer.output.shape[1:]))
    places = np.arange(size) if pick is None else pick
    channels = (places % layer.output.shape[-1]).astype(np.int16)  # of a million values a tensor
    return np.tile(channels, count // len(places))


def _pick(size: int, rng: np.random.Generator) -> npt.NDArray[np.int64] | None:
    if size <= SAMPLES_PER_IMAGE:
        return None
    return np.sort(rng.choice(size, SAMPLES_PER_IMAGE, replace=False))


def choose_ranges(network: keras.Model, observed: Mapping[str, Observed]) -> dict[str, Range]:
    """Return the range of every observed layer output of the lowered network."""
    ranges: dict[str, Range] = {}
    for name, values in observed.items():
        layer = network.get_layer(name)
        energy = channel_energy(layer)
        weights = None if energy is None else energy[values.channels]
        behind, floor = _behind(layer)
        ranges[name] = least_error_range(values, behind, weights, floor)
    return ranges


def channel_energy(layer: keras.layers.Layer) -> npt.NDArray[np.float64] | None:
    """Return how much an error in each output channel grows in what follows, (C,), mean 1.

    To first order the squared error of a channel is multiplied by the squared kernel values that
    read it. Layers that pass channels on unmixed are looked through. None if no layer reads it.
    """
    total: npt.NDArray[np.float64] | None = None
    for follower in consumers(layer):
        if isinstance(follower, keras.layers.Activation) and follower.name.endswith(GATE):
            continue  # the other half of a swish; the product is followed
        if isinstance(follower, _READERS):
            kernel = follower.get_weights()[0].astype(np.float64)
            axis = 0 if isinstance(follower, keras.layers.Dense) else 2
            others = tuple(n for n in range(kernel.ndim) if n != axis)
            found: npt.NDArray[np.float64] | None = (kernel**2).sum(axis=others)
        else:
            found = channel_energy(follower)
        if found is not None and len(found) == layer.output.shape[-1]:
            total = found if total is None else total + found
    if total is None:
        return None
    return np.asarray(total / total.mean(), np.float64) if total.mean() > 0 else None


def _behind(layer: keras.layers.Layer) -> tuple[Callable[[Samples], Samples], float]:
    """Return the function behind which this layer's error counts, and what must not be cut off."""
    followers = consumers(layer)
    gates = [
        follower
        for follower in followers
        if isinstance(follower, keras.layers.Activation)
        and follower.get_config()["activation"] == "sigmoid"
    ]
    if len(gates) == 1 and len(followers) == 1:
        return _sigmoid, 0.0
    if len(gates) == 1 and len(followers) == 2 and gates[0].name.endswith(GATE):
        return _swish, SWISH_FLOOR
    return _identity, 0.0


def _identity(x: Samples) -> Samples:
    return x


def _sigmoid(x: Samples) -> Samples:
    return (1.0 / (1.0 + np.exp(-np.clip(x, -60, 60)))).astype(np.float32)


def _swish(x: Samples) -> Samples:
    return (x * _sigmoid(x)).astype(np.float32)


def least_error_range(
    values: Observed,
    behind: Callable[[Samples], Samples] = _identity,
    importance: npt.NDArray[np.float64] | None = None,
    floor: float = 0.0,
) -> Range:
    """Search the range with the least mean squared error behind `behind`.

    The ends are moved in turn over fractions of the extremes, twice; zero stays inside.
    `importance` weighs the samples, (N,); None weighs them alike. Values down to `floor` are never
    cut off.
    """
    points, weights = _condense(values.samples, importance)
    target = behind(points)

    def error(low: float, high: float) -> float:
        difference = behind(fake_quantize(points, low, high)) - target
        return float(np.dot(weights, difference * difference))

    low, high = min(values.low, 0.0), max(values.high, 0.0)
    if high - low < 1e-6:
        return low - 1e-3, high + 1e-3
    fractions = np.concatenate([np.geomspace(0.02, 0.5, 20), np.linspace(0.55, 1.0, 16)])
    lows = [end for end in (low * fractions).tolist() if end <= max(floor, low)]
    best = (low, high)
    for _ in range(2):
        if high > 0:
            best = min(((best[0], high * f) for f in fractions), key=lambda ends: error(*ends))
        if low < 0:
            best = min(((end, best[1]) for end in lows), key=lambda ends: error(*ends))
    return float(best[0]), float(best[1])


def _condense(
    samples: Samples, importance: npt.NDArray[np.float64] | None
) -> tuple[Samples, npt.NDArray[np.float64]]:
    """Return at most about POINTS values and their weights; the tails are kept one by one."""
    order = np.argsort(samples)
    ordered = samples[order].astype(np.float64)
    weights = np.ones(len(samples)) if importance is None else importance[order] + 1e-12
    if len(ordered) <= POINTS:
        return ordered.astype(np.float32), weights / weights.sum()
    inner = len(ordered) - 2 * TAIL
    starts = TAIL + np.linspace(0, inner, POINTS, endpoint=False).astype(np.intp)
    bounds = np.concatenate([np.arange(TAIL), starts, np.arange(len(ordered) - TAIL, len(ordered))])
    grouped = np.add.reduceat(weights, bounds)
    points = np.add.reduceat(ordered * weights, bounds) / grouped
    return points.astype(np.float32), grouped / grouped.sum()


def nudge(low: float, high: float) -> tuple[float, int]:
    """Return the scale and the zero point in 0..255 that a range becomes: zero is exact."""
    scale = (high - low) / LEVELS
    return scale, int(np.clip(round(-low / scale), 0, LEVELS))


def fake_quantize(x: Samples, low: float, high: float) -> Samples:
    """Quantize to 8 bits over [low, high] and back, as the file does."""
    scale, zero = nudge(low, high)
    return np.asarray((np.clip(np.rint(x / scale) + zero, 0, LEVELS) - zero) * scale, np.float32)
