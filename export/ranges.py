"""The range of each tensor, from what the float network computes on calibration pictures.

A range is chosen for the least mean squared error of the quantized tensor. For a tensor that feeds
a swish or a sigmoid the error is taken behind it: the long negative tail in front of a swish
carries nothing, and spending steps on it costs accuracy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from ..train.backend import keras, tf
from .lower import GATE, consumers

Samples = npt.NDArray[np.float32]
Range = tuple[float, float]
LEVELS = 255
SAMPLES_PER_PICTURE = 1024
POINTS = 4096
TAIL = 64


@dataclasses.dataclass(frozen=True)
class Observed:
    """Values of one tensor: a sample of them, and the extremes of all."""

    samples: Samples
    low: float
    high: float


def observe(
    network: keras.Model, images: npt.NDArray[np.float32], rng: np.random.Generator, batch: int = 8
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
        observed[layer.name] = Observed(values, low, high)
    return observed


def _pick(size: int, rng: np.random.Generator) -> npt.NDArray[np.int64] | None:
    if size <= SAMPLES_PER_PICTURE:
        return None
    return np.sort(rng.choice(size, SAMPLES_PER_PICTURE, replace=False))


def choose_ranges(network: keras.Model, observed: Mapping[str, Observed]) -> dict[str, Range]:
    """Return the range of every observed layer output of the lowered network."""
    return {
        name: least_error_range(values, _behind(network.get_layer(name)))
        for name, values in observed.items()
    }


def _behind(layer: keras.layers.Layer) -> Callable[[Samples], Samples]:
    """Return the function behind which the error of this layer's output counts."""
    followers = consumers(layer)
    gates = [
        follower
        for follower in followers
        if isinstance(follower, keras.layers.Activation)
        and follower.get_config()["activation"] == "sigmoid"
    ]
    if len(gates) == 1 and len(followers) == 1:
        return _sigmoid
    if len(gates) == 1 and len(followers) == 2 and gates[0].name.endswith(GATE):
        return _swish
    return _identity


def _identity(x: Samples) -> Samples:
    return x


def _sigmoid(x: Samples) -> Samples:
    return (1.0 / (1.0 + np.exp(-np.clip(x, -60, 60)))).astype(np.float32)


def _swish(x: Samples) -> Samples:
    return (x * _sigmoid(x)).astype(np.float32)


def least_error_range(values: Observed, behind: Callable[[Samples], Samples] = _identity) -> Range:
    """Search the range with the least mean squared error behind `behind`.

    The ends are moved in turn over fractions of the extremes, twice; zero stays inside.
    """
    points, weights = _condense(values)
    target = behind(points)

    def error(low: float, high: float) -> float:
        difference = behind(fake_quantize(points, low, high)) - target
        return float(np.dot(weights, difference * difference))

    low, high = min(values.low, 0.0), max(values.high, 0.0)
    if high - low < 1e-6:
        return low - 1e-3, high + 1e-3
    fractions = np.concatenate([np.geomspace(0.02, 0.5, 16), np.linspace(0.55, 1.0, 16)])
    best = (low, high)
    for _ in range(2):
        if high > 0:
            best = min(((best[0], high * f) for f in fractions), key=lambda ends: error(*ends))
        if low < 0:
            best = min(((low * f, best[1]) for f in fractions), key=lambda ends: error(*ends))
    return float(best[0]), float(best[1])


def _condense(values: Observed) -> tuple[Samples, npt.NDArray[np.float64]]:
    """Return at most about POINTS values and their weights; the tails are kept one by one."""
    ordered = np.sort(values.samples)
    if len(ordered) <= POINTS:
        return ordered, np.full(len(ordered), 1.0 / len(ordered))
    tails = np.concatenate([ordered[:TAIL], ordered[-TAIL:]])
    groups = np.array_split(ordered[TAIL:-TAIL], POINTS)
    means = np.array([group.mean() for group in groups], np.float32)
    weights = np.array([len(group) for group in groups], np.float64)
    points = np.concatenate([means, tails]).astype(np.float32)
    return points, np.concatenate([weights, np.ones(2 * TAIL)]) / len(ordered)


def nudge(low: float, high: float) -> tuple[float, int]:
    """Return the scale and the zero point in 0..255 that a range becomes: zero is exact."""
    scale = (high - low) / LEVELS
    return scale, int(np.clip(round(-low / scale), 0, LEVELS))


def fake_quantize(x: Samples, low: float, high: float) -> Samples:
    """Quantize to 8 bits over [low, high] and back, as the file does."""
    scale, zero = nudge(low, high)
    return np.asarray((np.clip(np.rint(x / scale) + zero, 0, LEVELS) - zero) * scale, np.float32)
