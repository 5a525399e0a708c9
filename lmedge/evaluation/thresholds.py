"""Thresholds for "not a landmark", fitted on the outputs of a file, and figures of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import LmedgeError
from ..model_file import HEADS, KNOWN
from ..rejection import AGREEMENT, agreement
from .coverage import AcceptancePoint, best_coverage, coverage_curve, risk_area
from .unknown import auroc, threshold_for

DIGITS = 6  # of a threshold; rounded down, so that the image it comes from still passes
Probabilities = Mapping[str, npt.NDArray[np.float32]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedThresholds:
    """Thresholds, and figures of images that did not choose them.

    `threshold` applies to `score`. The score is KNOWN, the probability of the file's third output,
    or AGREEMENT of both heads if there is no such output. `heads` holds a threshold for each
    output, for clients that compare the largest probability alone. All are in 0..1.

    `known` and `unknown` count the images that chose the thresholds. `coverage` is the share that
    they were to keep of the known images whose landmark is right, `kept` the share of the whole
    test part that passes. `auroc` and the share `false_accepts` hold the test part against the
    other half of the unknown images. They are None without unknown images.

    `curve` is the accuracy over coverage of the part `measured` and that other half, and
    `risk_area` the mean share of wrong landmarks over all coverages.
    """

    threshold: float
    heads: Mapping[str, float]
    coverage: float
    known: int
    unknown: int
    kept: float | None = None
    auroc: float | None = None
    false_accepts: float | None = None
    score: str = AGREEMENT
    measured: str | None = None
    curve: tuple[AcceptancePoint, ...] = ()
    risk_area: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        names = {"unknown": "strangers"}
        found: dict[str, Any] = dataclasses.asdict(self)
        found["curve"] = list(found["curve"])
        return {names.get(name, name): value for name, value in found.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnknownOutputs:
    """Outputs of the file for unknown images, by head: one half to fit with, the other to test."""

    fit: Probabilities
    test: Probabilities


def fit_rejection(
    parents: npt.NDArray[np.intp],
    known: Probabilities,
    test: Probabilities | None,
    unknown: UnknownOutputs | None,
    coverage: float | None,
    right: Mapping[str, npt.NDArray[np.bool_]] | None = None,
) -> FittedThresholds:
    """Fit thresholds on outputs of the validation part, and measure them on the test part.

    An image with a wrong landmark is no loss if it is refused. It has a low score more often than
    not, so that keeping it would let unknown images of the same score pass.

    Args:
        parents: The category of each landmark, (L,).
        known: Outputs for the validation part, (N, L) and (N, C) by head; KNOWN, (N, 2), as well if
            the file has it.
        test: Outputs for the test part, if there is one.
        unknown: Outputs for unknown images, if there are any.
        coverage: The share, 0..1, that the thresholds keep of the known images whose landmark is
            right. None for the one with the fewest mistakes on the validation part and the half of
            the unknown images that fits.
        right: By part, "val" and "test", true for images whose landmark is right, (N,). Without it
            all are taken for right.

    Raises:
        LmedgeError: There is nothing to choose the coverage by.
    """

    def scored(found: Probabilities) -> npt.NDArray[np.floating]:
        if KNOWN in found:
            return found[KNOWN][:, 0]
        return agreement(found["landmark"], found["category"], parents)

    own = scored(known)
    if coverage is None:
        if unknown is None or right is None:
            raise LmedgeError(
                "--coverage auto: there are no unknown images to weigh against the known ones; "
                "pass --unknown"
            )
        coverage = best_coverage(own, right["val"], scored(unknown.fit))
    chosen = np.ones(len(own), bool) if right is None else right["val"]
    threshold = _floor(
        threshold_for(own[chosen], coverage, None if unknown is None else scored(unknown.fit))
    )
    passed = None if test is None else scored(test)
    others = None if unknown is None else scored(unknown.test)
    heads = {
        head: _floor(threshold_for(known[head].max(axis=1)[chosen], coverage)) for head in HEADS
    }
    part, judged = ("val", own) if passed is None else ("test", passed)
    hits = None if right is None else right[part]
    return FittedThresholds(
        threshold=threshold,
        heads={**heads, KNOWN: threshold} if KNOWN in known else heads,
        coverage=coverage,
        known=int(chosen.sum()),
        unknown=0 if unknown is None else len(unknown.fit["landmark"]),
        kept=None if passed is None else float((passed >= threshold).mean()),
        auroc=None if passed is None or others is None else auroc(passed, others),
        false_accepts=None if others is None else float((others >= threshold).mean()),
        score=KNOWN if KNOWN in known else AGREEMENT,
        measured=None if hits is None else part,
        curve=() if hits is None else coverage_curve(judged, hits, others),
        risk_area=None if hits is None else risk_area(judged, hits),
    )


def _floor(value: float) -> float:
    return float(math.floor(value * 10**DIGITS) / 10**DIGITS)
