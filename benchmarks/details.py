"""Details behind the F1: confidence, intervals, confusions, mistakes and calibration."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from lmedge.evaluation.calibration_error import ReliabilityDiagram, reliability_diagram
from lmedge.evaluation.intervals import wilson_interval
from lmedge.evaluation.metrics import Confusion, HeadScore, confusions
from lmedge.taxonomy import Taxonomy

TOP = 3
LISTED = 20  # confusions and mistakes
LEVELS = (1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.5)

Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mistake:
    """An image with a wrong prediction, `said`, and the probabilities of both landmarks."""

    path: Path
    truth: str
    said: str
    probability: float
    truth_probability: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoveragePoint:
    """Answers at least as probable as `threshold`: their share of all, and their accuracy."""

    threshold: float
    coverage: float
    accuracy: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Details:
    """Figures of the scored images, with both heads decoded together.

    Intervals are Wilson's, of 95 %. `category_of_wrong` is the share of wrong landmarks with the
    right category, None if all landmarks are right. Recalls cover every class that has images.
    `calibration` has both heads alone and the landmark decoded `together`.
    """

    weighted_f1: dict[str, float]
    top3: float
    accuracy_interval: dict[str, Interval]
    recall_interval: dict[str, Interval]
    category_recall_interval: dict[str, Interval]
    rejection: tuple[CoveragePoint, ...]
    category_of_wrong: float | None
    confusions: tuple[Confusion, ...]
    mistakes: tuple[Mistake, ...]
    calibration: dict[str, ReliabilityDiagram]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = dataclasses.asdict(self)
        for mistake in values["mistakes"]:
            mistake["path"] = click.format_filename(mistake["path"])
        return values


def details_of(
    paths: Sequence[Path],
    truth: npt.NDArray[np.int64],
    joint: npt.NDArray[np.float32],
    scores: Mapping[str, HeadScore],
    alone: dict[str, npt.NDArray[np.float32]],
    taxonomy: Taxonomy,
) -> Details:
    """Compute the details of N images.

    Args:
        paths: The image files.
        truth: (N,) indices of the true landmarks.
        joint: (N, L) probabilities of the landmarks, both heads decoded together.
        scores: Scores by head, both heads decoded together.
        alone: Probabilities of each head alone, (N, L) and (N, C).
        taxonomy: The labels of both heads.
    """
    predicted = joint.argmax(axis=1)
    right = predicted == truth
    order = (-joint).argsort(axis=1, kind="stable")[:, :TOP]
    parents = taxonomy.parent_index
    wrong = np.flatnonzero(~right)
    same = (parents[predicted[wrong]] == parents[truth[wrong]]).mean() if len(wrong) else None
    return Details(
        **of_scores(scores),
        top3=float((order == truth[:, None]).any(axis=1).mean()),
        rejection=tuple(_rejections(joint.max(axis=1), right)),
        category_of_wrong=None if same is None else float(same),
        mistakes=_mistakes(paths, truth, joint, taxonomy),
        calibration={
            "landmark": reliability_diagram(alone["landmark"], truth),
            "category": reliability_diagram(alone["category"], parents[truth]),
            "together": reliability_diagram(joint, truth),
        },
    )


def of_scores(scores: Mapping[str, HeadScore]) -> dict[str, Any]:
    """Return those of the Details that follow from the scores of both heads."""
    return {
        "weighted_f1": {head: _weighted(score) for head, score in scores.items()},
        "accuracy_interval": {
            head: wilson_interval(round(score.accuracy * score.n), score.n)
            for head, score in scores.items()
        },
        "recall_interval": _recalls(scores["landmark"]),
        "category_recall_interval": _recalls(scores["category"]),
        "confusions": tuple(confusions(scores["landmark"], LISTED)),
    }


def _mistakes(
    paths: Sequence[Path],
    truth: npt.NDArray[np.int64],
    joint: npt.NDArray[np.float32],
    taxonomy: Taxonomy,
) -> tuple[Mistake, ...]:
    """Return the LISTED mistakes with the most probable predictions."""
    predicted, probability = joint.argmax(axis=1), joint.max(axis=1)
    wrong = np.flatnonzero(predicted != truth).tolist()
    return tuple(
        Mistake(
            path=paths[index],
            truth=taxonomy.landmarks[truth[index]],
            said=taxonomy.landmarks[predicted[index]],
            probability=float(probability[index]),
            truth_probability=float(joint[index, truth[index]]),
        )
        for index in sorted(wrong, key=lambda n: -probability[n])[:LISTED]
    )


def _recalls(score: HeadScore) -> dict[str, Interval]:
    return {
        entry.name: wilson_interval(round(entry.recall * entry.support), entry.support)
        for entry in score.classes
        if entry.support
    }


def _weighted(score: HeadScore) -> float:
    """Return the mean F1 of the classes, weighted by their images as in scikit-learn."""
    return sum(entry.f1 * entry.support for entry in score.classes) / max(1, score.n)


def _rejections(sure: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]) -> list[CoveragePoint]:
    """Return the highest threshold that keeps each of LEVELS of the predictions."""
    found: list[CoveragePoint] = []
    ordered = np.sort(sure)[::-1]
    for level in LEVELS:
        threshold = float(ordered[math.ceil(level * len(sure)) - 1])
        kept = sure >= threshold
        if found and found[-1].threshold == threshold:
            continue
        found.append(
            CoveragePoint(
                threshold=threshold,
                coverage=float(kept.mean()),
                accuracy=float(right[kept].mean()),
            )
        )
    return found
