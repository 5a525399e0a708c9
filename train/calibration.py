"""The step from logits to probabilities: a temperature a head, and the category head's weight.

A temperature makes a probability of 0.9 right nine times in ten, so that the two heads are
comparable. The weight is the share of the category head's evidence that is new.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from lmedge.decoding import Decoding, Probabilities, softmax
from lmedge.evaluation.scoring import fit_category_weight, log_likelihood
from lmedge.evaluation.temperature import HIGH, LOW, fit_temperature
from lmedge.model_file import HEADS
from lmedge.taxonomy import Taxonomy


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
