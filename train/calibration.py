"""Logits to probabilities: a temperature a head, and the weight of the category head.

A temperature makes a probability of 0.9 right nine times in ten; only then do the two heads speak
equally loud, and the weight says how much of what the second says is new.
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
from lmedge.evaluation.scoring import fit_category_weight
from lmedge.model_file import HEADS
from lmedge.taxonomy import Taxonomy

LOW, HIGH = 0.05, 20.0


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How what a network says is read: `temperatures` by head, and the decoding of both heads."""

    temperatures: Mapping[str, float]
    decoding: Decoding = dataclasses.field(default_factory=Decoding)

    @classmethod
    def none(cls) -> Self:
        """Return that of probabilities as they are and heads that are independent."""
        return cls(dict.fromkeys(HEADS, 1.0))

    @classmethod
    def of_scores(cls, scores: Mapping[str, Any]) -> Self:
        """Return what a part of metrics.json was scored with; 1 for what it does not say.

        Raises LmedgeError, ValueError, TypeError or AttributeError for other things.
        """
        found = {head: float(scores.get("temperatures", {}).get(head, 1.0)) for head in HEADS}
        if not all(LOW <= value <= HIGH for value in found.values()):
            raise ValueError(f"temperatures must be in {LOW:g}..{HIGH:g}, not {found}")
        return cls(found, Decoding(category_weight=float(scores.get("category_weight", 1.0))))

    def probabilities(
        self, logits: Mapping[str, npt.NDArray[np.floating]]
    ) -> dict[str, Probabilities]:
        """Return those of (N, L) and (N, C) logits, by head."""
        return {head: softmax(logits[head], self.temperatures[head]) for head in HEADS}


def fit_calibration(
    logits: Mapping[str, npt.NDArray[np.float32]],
    truth: Mapping[str, npt.NDArray[np.int64]],
    taxonomy: Taxonomy,
) -> Calibration:
    """Fit both to (N, L) and (N, C) logits and (N,) true indices, by head."""
    fitted = Calibration({head: fit_temperature(logits[head], truth[head]) for head in HEADS})
    weight = fit_category_weight(fitted.probabilities(logits), truth, taxonomy)
    return dataclasses.replace(fitted, decoding=Decoding(category_weight=weight))


def fit_temperature(logits: npt.NDArray[np.float32], truth: npt.NDArray[np.int64]) -> float:
    """Fit the temperature that gives the least log loss on (N, K) logits and (N,) truth.

    The targets are smoothed as in Platt (1999): (n + 1) / (n + 2) for the true class, so that a
    few validation images that are all right do not ask for certainty. Returns 1 for none.
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
