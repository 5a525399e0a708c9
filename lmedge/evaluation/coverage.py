"""The curve of accuracy over coverage: what a threshold for unknown images costs and gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .unknown import threshold_for

SHOWN = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.99, 1.0)
CHOSEN_FROM = tuple(round(0.01 * step, 2) for step in range(80, 100))
Values = npt.NDArray[np.floating]
Flags = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AcceptancePoint:
    """One threshold; shares are in 0..1.

    `kept` is the share of known images that reach the `threshold`, and `accuracy` the share of
    these that have the right landmark. `false_accepts` is the share of unknown images that reach
    it, None without unknown images.
    """

    kept: float
    threshold: float
    accuracy: float
    false_accepts: float | None


def coverage_curve(
    known: Values, right: Flags, unknown: Values | None, shares: Sequence[float] = SHOWN
) -> tuple[AcceptancePoint, ...]:
    """Return a point for each share of known images that is to be kept, in ascending order.

    Args:
        known: (N,) scores of known images, at least one.
        right: (N,) true if the landmark of the image is right.
        unknown: (M,) scores of unknown images, if there are any.
        shares: The shares that are to be kept, 0..1.
    """
    order = np.argsort(-np.asarray(known), kind="stable")
    scores, hits = np.asarray(known)[order], np.asarray(right)[order]
    points: dict[float, AcceptancePoint] = {}
    for share in shares:
        least = float(scores[max(1, round(share * len(scores))) - 1])
        passed = scores >= least
        points[least] = AcceptancePoint(
            kept=float(passed.mean()),
            threshold=least,
            accuracy=float(hits[passed].mean()),
            false_accepts=None if unknown is None else float((unknown >= least).mean()),
        )
    return tuple(points.values())


def risk_area(known: Values, right: Flags) -> float:
    """Return the mean share of wrong landmarks over all coverages, 0..1; less is better.

    That is the area under the risk-coverage curve of Geifman and El-Yaniv (arXiv:1705.08500). Of
    images with equal scores the wrong ones count first.
    """
    order = np.lexsort((np.asarray(right), -np.asarray(known)))
    wrong = np.cumsum(~np.asarray(right)[order])
    return float((wrong / np.arange(1, len(wrong) + 1)).mean())


def best_coverage(known: Values, right: Flags, unknown: Values) -> float:
    """Return the coverage, out of CHOSEN_FROM, whose threshold makes the fewest mistakes.

    It is the share of the known images with the right landmark that reach the threshold. A known
    image is a mistake if it is refused or has a wrong landmark, an unknown one if it passes. Both
    kinds weigh the same, whatever their number. Of equal ones the highest is taken.

    Args:
        known: (N,) scores of known images.
        right: (N,) true if the landmark of the image is right.
        unknown: (M,) scores of unknown images, at least one.
    """

    def mistakes(coverage: float) -> float:
        least = threshold_for(known[right], coverage, unknown)
        answered = (known >= least) & right
        return float(1 - answered.mean() + (unknown >= least).mean())

    return min(reversed(CHOSEN_FROM), key=mistakes)
