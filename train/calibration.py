"""The step from logits to probabilities: a temperature a head, and the category head's weight.

A temperature makes a probability of 0.9 right nine times in ten, so that the two heads are
comparable. The weight is the share of the category head's evidence that is new.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from lmedge.decoding import Decoding, Probabilities, log_softmax, softmax
from lmedge.evaluation.scoring import fit_category_weight, log_likelihood
from lmedge.model_file import HEADS
from lmedge.taxonomy import Taxonomy

LOW, HIGH = 0.05, 20.0


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The `temperatures` by head, and the decoding of both heads."""

    temperatures: Mapping[str, float]
    decoding: Decoding = dataclasses.field(default_factory=Decoding)

    @classmethod
    def none(cls) -> Self:
        """Return temperatures of 1 and the decoding of independent heads."""
        return cls(dict.fromkeys(HEADS, 1.0))

    @classmethod
    def of_scores(cls, scores: Mapping[str, Any]) -> Self:
        """Return the calibration of a part of metrics.json.

        Raises:
            LmedgeError, KeyError, ValueError, TypeError: if `scores` are not those of a part.
        """
        found = {head: float(scores["temperatures"][head]) for head in HEADS}
        if not all(LOW <= value <= HIGH for value in found.values()):
            raise ValueError(f"temperatures must be in {LOW:g}..{HIGH:g}, not {found}")
        weight = float(scores["category_weight"])
        return cls(found, Decoding(category_weight=weight))

    def probabilities(
        self, logits: Mapping[str, npt.NDArray[np.floating]]
    ) -> dict[str, Probabilities]:
        """Return the probabilities of (N, L) and (N, C) logits, by head."""
        return {head: softmax(logits[head], self.temperatures[head]) for head in HEADS}


def fit_calibration(
    logits: Mapping[str, npt.NDArray[np.float32]],
    truth: Mapping[str, npt.NDArray[np.int64]],
    taxonomy: Taxonomy,
) -> Calibration:
    """Fit temperatures and weight to (N, L) and (N, C) logits and (N,) true indices, by head."""
    fitted = Calibration({head: fit_temperature(logits[head], truth[head]) for head in HEADS})
    weight = fit_category_weight(fitted.probabilities(logits), truth, taxonomy)
    return dataclasses.replace(fitted, decoding=Decoding(category_weight=weight))


def calibrated_likelihood(
    logits: Mapping[str, npt.NDArray[np.float32]], truth: Mapping[str, npt.NDArray[np.int64]]
) -> float:
    """Return the log likelihood of the heads in `truth`, each at its best temperature.

    `logits` are (N, K) by head, `truth` (N,) indices by head.
    """
    return sum(
        log_likelihood(logits[head].astype(np.float64) / fit_temperature(logits[head], own), own)
        for head, own in truth.items()
    )


def fit_temperature(logits: npt.NDArray[np.float32], truth: npt.NDArray[np.int64]) -> float:
    """Fit the temperature that gives the least log loss on (N, K) logits and (N,) truth.

    The targets are smoothed as in Platt (1999): (n + 1) / (n + 2) for the true class, so that a
    few validation images that are all right do not lead to certainty. Returns 1 for no images.
    """
    count, classes = logits.shape
    if count == 0 or classes < 2:
        return 1.0
    right = (count + 1) / (count + 2)
    targets = np.full((count, classes), (1 - right) / (classes - 1))
    targets[np.arange(count), truth] = right

    def loss(log_temperature: float) -> float:
        log_p = log_softmax(logits.astype(np.float64) / math.exp(log_temperature))
        return float(-(targets * log_p).sum(axis=1).mean())

    found = minimize_scalar(loss, bounds=(math.log(LOW), math.log(HIGH)), method="bounded")
    return float(math.exp(found.x))
