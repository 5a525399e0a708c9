"""What one asks behind the F1: how sure, how often nearly right, and which images went wrong."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from lmedge.evaluation.metrics import HeadScore, ReliabilityBin, reliability
from lmedge.taxonomy import Taxonomy

NORMAL = 1.959963984540054  # of a 95 % interval
TOP = 3
LISTED = 20  # confusions and mistakes
LEVELS = (1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.5)

Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Mistake:
    """An image whose landmark was not named, and how sure the file was of another."""

    path: Path
    truth: str
    said: str
    probability: float
    truth_probability: float


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How many images of one landmark were taken for another."""

    truth: str
    said: str
    count: int
    pictures: int


@dataclasses.dataclass(frozen=True)
class Rejection:
    """Of answers at least as sure as `threshold`: their share of all, and how many are right."""

    threshold: float
    coverage: float
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Expected calibration error, 0..1, and the bins it is the weighted mean of."""

    error: float
    bins: tuple[ReliabilityBin, ...]


@dataclasses.dataclass(frozen=True)
class Details:
    """Decoded together, on the images that were scored.

    Intervals are Wilson's of 95 %. `category_of_wrong` is the share of wrong landmarks whose
    category is right, None without any. The recalls are of every class that has images.
    `calibration` is of each head alone, and of the landmark decoded `together`.
    """

    weighted_f1: dict[str, float]
    top3: float
    accuracy_interval: dict[str, Interval]
    recall_interval: dict[str, Interval]
    category_recall_interval: dict[str, Interval]
    rejection: tuple[Rejection, ...]
    category_of_wrong: float | None
    confusions: tuple[Confusion, ...]
    mistakes: tuple[Mistake, ...]
    calibration: dict[str, Calibration]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = dataclasses.asdict(self)
        for mistake in values["mistakes"]:
            mistake["path"] = click.format_filename(mistake["path"])
        return values


def wilson(right: int, n: int) -> Interval:
    """Return the 95 % interval of a share (Wilson, 1927); (0, 1) of nothing."""
    if n == 0:
        return 0.0, 1.0
    share, square = right / n, NORMAL**2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = NORMAL * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def details_of(
    paths: Sequence[Path],
    truth: npt.NDArray[np.int64],
    joint: npt.NDArray[np.float32],
    scores: Mapping[str, HeadScore],
    alone: dict[str, npt.NDArray[np.float32]],
    taxonomy: Taxonomy,
) -> Details:
    """Return the details of (N,) true landmarks and (N, L) joint probabilities.

    scores: of both heads, decoded together. alone: what each head says, (N, L) and (N, C).
    """
    said = joint.argmax(axis=1)
    right = said == truth
    order = (-joint).argsort(axis=1, kind="stable")[:, :TOP]
    parents = taxonomy.parent_index
    wrong = np.flatnonzero(~right)
    same = (parents[said[wrong]] == parents[truth[wrong]]).mean() if len(wrong) else None
    rows = np.arange(len(truth))
    return Details(
        weighted_f1={head: _weighted(score) for head, score in scores.items()},
        top3=float((order == truth[:, None]).any(axis=1).mean()),
        accuracy_interval={
            head: wilson(round(score.accuracy * score.n), score.n) for head, score in scores.items()
        },
        recall_interval=_recalls(scores["landmark"]),
        category_recall_interval=_recalls(scores["category"]),
        rejection=tuple(_rejections(joint[rows, said], right)),
        category_of_wrong=None if same is None else float(same),
        confusions=tuple(_confusions(scores["landmark"], taxonomy)),
        mistakes=tuple(
            Mistake(
                paths[index],
                taxonomy.landmarks[truth[index]],
                taxonomy.landmarks[said[index]],
                float(joint[index, said[index]]),
                float(joint[index, truth[index]]),
            )
            for index in sorted(wrong.tolist(), key=lambda n: -joint[n, said[n]])[:LISTED]
        ),
        calibration={
            "landmark": _calibration(alone["landmark"], truth),
            "category": _calibration(alone["category"], parents[truth]),
            "together": _calibration(joint, truth),
        },
    )


def _recalls(score: HeadScore) -> dict[str, Interval]:
    return {
        entry.name: wilson(round(entry.recall * entry.support), entry.support)
        for entry in score.classes
        if entry.support
    }


def _calibration(
    probabilities: npt.NDArray[np.float32], truth: npt.NDArray[np.integer]
) -> Calibration:
    bins = tuple(reliability(probabilities, truth))
    return Calibration(sum(one.share * abs(one.accuracy - one.confidence) for one in bins), bins)


def _weighted(score: HeadScore) -> float:
    """Mean of the classes' F1, each by its share of the images, as in scikit-learn."""
    return sum(entry.f1 * entry.support for entry in score.classes) / max(1, score.n)


def _rejections(sure: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]) -> list[Rejection]:
    """Return the highest threshold that keeps each of LEVELS of the answers."""
    found: list[Rejection] = []
    ordered = np.sort(sure)[::-1]
    for level in LEVELS:
        threshold = float(ordered[math.ceil(level * len(sure)) - 1])
        kept = sure >= threshold
        if found and found[-1].threshold == threshold:
            continue
        found.append(Rejection(threshold, float(kept.mean()), float(right[kept].mean())))
    return found


def _confusions(score: HeadScore, taxonomy: Taxonomy) -> list[Confusion]:
    counts = score.confusion.copy()
    np.fill_diagonal(counts, 0)
    pairs = np.argwhere(counts).tolist()
    pairs.sort(key=lambda pair: (-counts[tuple(pair)], pair))
    return [
        Confusion(
            taxonomy.landmarks[i],
            taxonomy.landmarks[j],
            int(counts[i, j]),
            int(score.confusion[i].sum()),
        )
        for i, j in pairs[:LISTED]
    ]
