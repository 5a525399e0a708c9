"""The temperature that makes the probabilities of a head as sure as they are right."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..decoding import log_softmax

LOW, HIGH = 0.05, 20.0
_GOLDEN = (math.sqrt(5) - 1) / 2
_STEPS = 40  # of the search: the interval of log T, of length 6, shrinks to 3e-8


def fit_temperature(
    logits: npt.NDArray[np.floating],
    truth: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64] | None = None,
) -> float:
    """Fit the temperature that gives the least log loss on (N, K) logits and (N,) truth.

    The targets are smoothed as in Platt (1999): (n + 1) / (n + 2) for the true class, so that a
    few validation images that are all right do not lead to certainty. Returns 1 for no images.

    weights: (N,) of the images, None for 1. n is their sum.
    """
    if len(logits) == 0 or logits.shape[1] < 2:
        return 1.0
    loss = smoothed_loss(logits, truth, weights)
    return math.exp(_least(lambda place: loss(math.exp(place)), math.log(LOW), math.log(HIGH)))


def smoothed_loss(
    logits: npt.NDArray[np.floating],
    truth: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64] | None = None,
) -> Callable[[float], float]:
    """Return the mean log loss of (N, K) logits against smoothed targets, by temperature.

    weights: (N,) of the images, as for `fit_temperature`.
    """
    count, classes = logits.shape
    total = count if weights is None else float(weights.sum())
    right = (total + 1) / (total + 2)
    others = (1 - right) / max(classes - 1, 1)
    values = logits.astype(np.float64)

    def loss(temperature: float) -> float:
        log_p = log_softmax(values / temperature)
        true = log_p[np.arange(count), truth]
        losses = -(others * (log_p.sum(axis=1) - true) + right * true)
        return float(losses.mean() if weights is None else losses @ weights / total)

    return loss


def _least(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the least place of a function with one minimum (golden section, Kiefer 1953)."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(right)
    return (low + high) / 2
