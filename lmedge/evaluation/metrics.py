"""Precision, recall, F1 and confusions of a head: the figures that every report quotes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.integer]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassScore:
    """Precision, recall and F1 of one class, each in 0..1, and its number of images."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadScore:
    """The scores of one head on n images; `confusion[i, j]` counts class i predicted as j.

    `macro_f1` is over the classes that have images. `macro_f1_seen` is also over those that have
    none and were predicted, each of which counts as 0.
    """

    macro_f1: float
    macro_f1_seen: float
    accuracy: float
    n: int
    classes: tuple[ClassScore, ...]
    confusion: npt.NDArray[np.int64] = dataclasses.field(repr=False)

    @property
    def cells(self) -> list[list[int]]:
        """[true class, predicted class, images] of each cell of the confusion that is not 0."""
        places = np.argwhere(self.confusion).tolist()
        return [[row, column, int(self.confusion[row, column])] for row, column in places]

    @property
    def absent(self) -> list[str]:
        """The names of the classes that have no image."""
        return [score.name for score in self.classes if not score.support]

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON, the classes by name and without the confusion."""
        classes = {
            score.name: {
                "precision": score.precision,
                "recall": score.recall,
                "f1": score.f1,
                "support": score.support,
            }
            for score in self.classes
        }
        return {
            "macro_f1": self.macro_f1,
            "macro_f1_seen": self.macro_f1_seen,
            "accuracy": self.accuracy,
            "n": self.n,
            "classes": classes,
        }


def score_head(truth: Labels, guess: Labels, names: tuple[str, ...]) -> HeadScore:
    """Score predictions of one head.

    Macro F1 is the mean of F1 over the classes that occur in the truth. The F1 of a class that is
    never right is 0. `macro_f1_seen` is the mean over the classes in the truth or among the
    predictions, as in scikit-learn.

    Args:
        truth: (N,) indices of the true classes.
        guess: (N,) indices of the predicted classes.
        names: The classes, in the order of the indices.
    """
    size = len(names)
    confusion = np.zeros((size, size), np.int64)
    np.add.at(confusion, (np.asarray(truth), np.asarray(guess)), 1)
    return score_confusion(confusion, names)


def score_confusion(confusion: npt.NDArray[np.int64], names: tuple[str, ...]) -> HeadScore:
    """Score a confusion matrix, as `score_head` does its predictions."""
    n = int(confusion.sum())
    right = np.diag(confusion).astype(np.float64)
    guessed, support = confusion.sum(axis=0), confusion.sum(axis=1)
    precision = right / np.maximum(guessed, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(guessed + support, 1)
    seen = (guessed + support) > 0
    classes = tuple(
        ClassScore(
            name=name,
            precision=float(precision[i]),
            recall=float(recall[i]),
            f1=float(f1[i]),
            support=int(support[i]),
        )
        for i, name in enumerate(names)
    )
    return HeadScore(
        macro_f1=float(f1[support > 0].mean()) if n else 0.0,
        macro_f1_seen=float(f1[seen].mean()) if n else 0.0,
        accuracy=float(right.sum() / max(1, n)),
        n=n,
        classes=classes,
        confusion=confusion,
    )


def macro_f1(truth: Labels, guess: Labels, classes: int) -> float:
    """Return macro F1 alone, as `score_head` defines it."""
    return score_head(truth, guess, tuple(map(str, range(classes)))).macro_f1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confusion:
    """A pair of classes: `count` of the `pictures` images of `truth` were predicted as `said`."""

    truth: str
    said: str
    count: int
    pictures: int


def confusions(score: HeadScore, most: int | None = None) -> list[Confusion]:
    """Return the wrong pairs of a head: the most frequent first, then those with a larger share.

    Pairs with the same count and share stand in the order of their names.
    """
    wrong = score.confusion - np.diag(np.diag(score.confusion))
    totals = score.confusion.sum(axis=1)
    names = [entry.name for entry in score.classes]
    pairs = [
        Confusion(
            truth=names[row],
            said=names[column],
            count=int(wrong[row, column]),
            pictures=int(totals[row]),
        )
        for row, column in zip(*np.nonzero(wrong), strict=True)
    ]
    pairs.sort(key=lambda pair: (-pair.count, pair.pictures, pair.truth, pair.said))
    return pairs[:most]


def classes_by_f1(score: HeadScore) -> list[ClassScore]:
    """Return the classes that have images: the lowest F1 first, then recall, then name."""
    seen = [entry for entry in score.classes if entry.support]
    return sorted(seen, key=lambda entry: (entry.f1, entry.recall, entry.name))


def weakest_classes(score: HeadScore, most: int) -> list[ClassScore]:
    """Return the classes with the lowest F1, if below 1, in the order of `classes_by_f1`."""
    return [entry for entry in classes_by_f1(score) if entry.f1 < 1][:most]
