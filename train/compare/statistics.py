"""Intervals and tests over the repeats of a comparison.

The training parts of folds and of repeated random splits overlap, so that their scores vary less
than those of independent samples. Variances are therefore raised by n_test / n_train (Nadeau and
Bengio, Inference for the Generalization Error, Machine Learning 52, 2003).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
import scipy.stats

LEVEL = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean of scores over repeats and half of its 95 % interval, None for fewer than two."""

    mean: float
    half: float | None

    @property
    def low(self) -> float | None:
        """The lower end of the interval; no score is below 0."""
        return None if self.half is None else max(0.0, self.mean - self.half)

    @property
    def high(self) -> float | None:
        """The upper end; no score is above 1."""
        return None if self.half is None else min(1.0, self.mean + self.half)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedTest:
    """A paired test of two settings on one head.

    `difference` is the mean of the first's score less the second's; `p` is two-sided, `adjusted`
    is Holm's over all comparisons of the head.
    """

    head: str
    first: int
    second: int
    difference: float
    p: float
    adjusted: float

    @property
    def is_significant(self) -> bool:
        """True if the difference is more than noise, at 5 % over all tests of the head."""
        return self.adjusted < 1 - LEVEL


def estimate(scores: Sequence[float], ratio: float) -> Estimate:
    """Return the mean and its interval by Student's t; `ratio` is n_test / n_train."""
    mean = float(np.mean(scores))
    if len(scores) < 2:
        return Estimate(mean=mean, half=None)
    half = scipy.stats.t.ppf((1 + LEVEL) / 2, len(scores) - 1) * _error(scores, ratio)
    return Estimate(mean=mean, half=float(half))


def p_value(differences: Sequence[float], ratio: float) -> float | None:
    """Return the two-sided p of the corrected resampled t-test; None for fewer than two."""
    if len(differences) < 2:
        return None
    mean, error = float(np.mean(differences)), _error(differences, ratio)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * scipy.stats.t.sf(abs(mean) / error, len(differences) - 1))


def _error(values: Sequence[float], ratio: float) -> float:
    return math.sqrt((1 / len(values) + ratio) * float(np.var(values, ddof=1)))


def holm(values: Sequence[float]) -> list[float]:
    """Return p values adjusted so that the chance of any false difference stays (Holm, 1979)."""
    adjusted, highest = [0.0] * len(values), 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable").tolist()):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = highest
    return adjusted


def compare_all(
    head: str, scores: Sequence[Sequence[float]], tested: Sequence[Sequence[str]], ratio: float
) -> list[PairedTest]:
    """Test every pair of settings that were tested on the same images, repeat by repeat.

    scores: by setting, one a repeat; tested: digests of the test parts, likewise.
    """
    pairs, values = [], []
    for first, second in itertools.combinations(range(len(scores)), 2):
        if tested[first] != tested[second]:
            continue
        differences = np.subtract(scores[first], scores[second]).tolist()
        value = p_value(differences, ratio)
        if value is not None:
            pairs.append((first, second, float(np.mean(differences))))
            values.append(value)
    return [
        PairedTest(
            head=head,
            first=first,
            second=second,
            difference=difference,
            p=value,
            adjusted=adjusted,
        )
        for (first, second, difference), value, adjusted in zip(
            pairs, values, holm(values), strict=True
        )
    ]
