"""Table of peers: times relative to the first of the same work, outputs compared with float32."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lmedge.errors import LmedgeError
from lmedge.evaluation.intervals import ratio_interval

Floats = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]
SAME_NETWORK = 1e-3  # largest difference of a probability between two float32 runtimes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timed:
    """Measurement of one place; times are (rounds,) milliseconds."""

    name: str
    runtime: str
    work: str
    bytes: int
    target: float | None
    times: Floats


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One row: `ratio` is this median over that of `against`, with its 95 % interval.

    `target` is the ratio to reach. `same_landmark` is the share of `images` with the same best
    landmark as the float32 file in LiteRT, `largest_difference` that of a landmark's probability.
    """

    name: str
    runtime: str
    work: str
    bytes: int
    rounds: int
    p50_ms: float
    p90_ms: float
    against: str
    ratio: float
    ratio_low: float
    ratio_high: float
    target: float | None
    pictures: int
    same_landmark: float
    largest_difference: float


def rows(timed: Sequence[Timed], scores: Mapping[str, Scores], reference: str) -> list[Row]:
    """Return a row for each, in order, relative to the first of the same work.

    scores: (N, L) landmark probabilities by name. `reference` names the answers to compare with.
    """
    first: dict[str, Timed] = {}
    found = []
    for one in timed:
        other = first.setdefault(one.work, one)
        p50, p90 = np.percentile(one.times, (50, 90)).tolist()
        low, high = ratio_interval(one.times, other.times)
        same, difference = compare(scores[one.name], scores[reference])
        found.append(
            Row(
                name=one.name,
                runtime=one.runtime,
                work=one.work,
                bytes=one.bytes,
                rounds=len(one.times),
                p50_ms=p50,
                p90_ms=p90,
                against=other.name,
                ratio=p50 / float(np.median(other.times)),
                ratio_low=low,
                ratio_high=high,
                target=one.target,
                pictures=len(scores[one.name]),
                same_landmark=same,
                largest_difference=difference,
            )
        )
    return found


def compare(own: Scores, reference: Scores) -> tuple[float, float]:
    """Return the share of (N, L) with the same best landmark, and the largest difference.

    NaN is a score that a client leaves out for being below the file's threshold: it is not
    compared, and an image without any score is left out.
    """
    told = ~np.isnan(own).all(axis=1)
    if not told.any():
        raise LmedgeError("no score was reported for any image; pass images of the landmarks")
    best = np.nanargmax(own[told], axis=1) == reference[told].argmax(axis=1)
    return float(best.mean()), float(np.nanmax(np.abs(own - reference)))


def check_same_network(scores: Mapping[str, Scores], name: str, reference: str) -> None:
    """Raise LmedgeError unless `name` gives the probabilities of `reference`, nearly."""
    difference = float(np.abs(scores[name] - scores[reference]).max())
    if not difference < SAME_NETWORK:
        raise LmedgeError(
            f"{name} is not the network of {reference}: probabilities differ by {difference:.3g}"
        )
