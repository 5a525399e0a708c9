"""How often the labels are right: the figures every room of lmedge reports."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.integer]


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """Precision, recall and F1 of one class, each in 0..1, and its number of images."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclasses.dataclass(frozen=True)
class HeadScore:
    """The scores of one head on n images; `confusion[i, j]` counts class i taken for j."""

    macro_f1: float
    accuracy: float
    n: int
    classes: tuple[ClassScore, ...]
    confusion: npt.NDArray[np.int64] = dataclasses.field(repr=False)

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
            "accuracy": self.accuracy,
            "n": self.n,
            "classes": classes,
        }


def score_head(truth: Labels, guess: Labels, names: tuple[str, ...]) -> HeadScore:
    """Score guesses against the truth: both (N,) integers below len(names).

    Macro F1 is the mean of the classes' F1 as in scikit-learn (zero where a class is never
    right), over the classes that occur in the truth or among the guesses.
    """
    size = len(names)
    confusion = np.zeros((size, size), np.int64)
    np.add.at(confusion, (np.asarray(truth), np.asarray(guess)), 1)
    right = np.diag(confusion).astype(np.float64)
    guessed, support = confusion.sum(axis=0), confusion.sum(axis=1)
    precision = right / np.maximum(guessed, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(guessed + support, 1)
    seen = (guessed + support) > 0
    classes = tuple(
        ClassScore(name, float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
        for i, name in enumerate(names)
    )
    return HeadScore(
        macro_f1=float(f1[seen].mean()) if seen.any() else 0.0,
        accuracy=float(right.sum() / max(1, len(truth))),
        n=len(truth),
        classes=classes,
        confusion=confusion,
    )


def macro_f1(truth: Labels, guess: Labels, classes: int) -> float:
    """Macro F1 alone, as `score_head` defines it."""
    return score_head(truth, guess, tuple(map(str, range(classes)))).macro_f1


def expected_calibration_error(
    probabilities: npt.NDArray[np.floating], truth: Labels, bins: int = 15
) -> float:
    """Return how far probability and accuracy of the top class are apart, 0..1; 0 of nothing.

    probabilities: (N, K); truth: (N,). Guo et al., arXiv:1706.04599: the mean over bins of equal
    width of |accuracy - mean probability|, weighted by their images.
    """
    return sum(
        one.share * abs(one.accuracy - one.confidence)
        for one in reliability(probabilities, truth, bins)
    )


@dataclasses.dataclass(frozen=True)
class ReliabilityBin:
    """Images whose top class has a probability in one bin; all values in 0..1."""

    confidence: float
    accuracy: float
    share: float
    pictures: int


def reliability(
    probabilities: npt.NDArray[np.floating], truth: Labels, bins: int = 15
) -> list[ReliabilityBin]:
    """Return the bins that have images; arguments as of `expected_calibration_error`."""
    sure = np.asarray(probabilities, np.float64).max(axis=1) if len(truth) else np.zeros(0)
    right = probabilities.argmax(axis=1) == truth if len(truth) else np.zeros(0, np.bool_)
    places = np.clip(np.ceil(sure * bins).astype(np.intp) - 1, 0, bins - 1)
    return [
        ReliabilityBin(
            float(sure[places == place].mean()),
            float(right[places == place].mean()),
            float((places == place).mean()),
            int((places == place).sum()),
        )
        for place in np.unique(places).tolist()
    ]
