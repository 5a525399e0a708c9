"""Scores of two heads decoded together, and the fitted weight of the category head."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..decoding import HEAVIEST, joint_probabilities, log_softmax
from ..taxonomy import Taxonomy
from .intervals import macro_f1_interval
from .metrics import HeadScore, score_head

WEIGHTS = 81
TINY = 1e-9  # a probability of 0 counts as this


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores(Mapping[str, HeadScore]):
    """Scores by head, "landmark" before "category", on the same images.

    The mapping itself, `together`, scores both heads decoded together, as a Prediction decodes
    them; `alone` scores the largest probability of each head by itself. `conflict_rate` is the
    share of images, 0..1, for which the heads alone name a landmark and a category that do not
    belong together. `category_weight` is the weight of the decoding.
    """

    together: Mapping[str, HeadScore]
    alone: Mapping[str, HeadScore]
    conflict_rate: float
    category_weight: float = 1.0

    def __getitem__(self, head: str) -> HeadScore:
        """Return the score of a head, decoded together with the other."""
        return self.together[head]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the heads."""
        return iter(self.together)

    def __len__(self) -> int:
        """Return the number of heads."""
        return len(self.together)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return {
            **{head: score.as_dict() for head, score in self.together.items()},
            **{f"{head}_marginal": _brief(score) for head, score in self.alone.items()},
            "conflict_rate": self.conflict_rate,
            "category_weight": self.category_weight,
        }

    def brief(self) -> dict[str, Any]:
        """Return macro F1 with its interval and accuracy, by head, for the card of a file."""
        intervals = self.intervals()
        return {
            head: {**_brief(score), "interval": list(intervals[head])}
            for head, score in self.together.items()
        }

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the 95 % interval of macro F1 by head."""
        return {head: macro_f1_interval(one.confusion) for head, one in self.together.items()}


def _brief(score: HeadScore) -> dict[str, Any]:
    return {"macro_f1": score.macro_f1, "accuracy": score.accuracy, "n": score.n}


def score_probabilities(
    probabilities: Mapping[str, npt.NDArray[np.float32]],
    truth: Mapping[str, npt.NDArray[np.int64]],
    taxonomy: Taxonomy,
    category_weight: float = 1.0,
) -> Scores:
    """Score the probabilities of both heads on the same images.

    Args:
        probabilities: By head, (N, L) for "landmark" and (N, C) for "category".
        truth: (N,) indices of the true classes, by head.
        taxonomy: The labels of both heads.
        category_weight: Weight of the category head in `joint_probabilities`.
    """
    parents = taxonomy.parent_index
    landmark, category = probabilities["landmark"], probabilities["category"]
    joint = joint_probabilities(landmark, category, parents, category_weight)
    together = joint.argmax(axis=1)
    alone, alone_above = landmark.argmax(axis=1), category.argmax(axis=1)
    return Scores(
        together={
            "landmark": score_head(truth["landmark"], together, taxonomy.landmarks),
            "category": score_head(truth["category"], parents[together], taxonomy.categories),
        },
        alone={
            "landmark": score_head(truth["landmark"], alone, taxonomy.landmarks),
            "category": score_head(truth["category"], alone_above, taxonomy.categories),
        },
        conflict_rate=float((parents[alone] != alone_above).mean()) if len(alone) else 0.0,
        category_weight=category_weight,
    )


def fit_category_weight(
    probabilities: Mapping[str, npt.NDArray[np.floating]],
    truth: Mapping[str, npt.NDArray[np.int64]],
    taxonomy: Taxonomy,
) -> float:
    """Return the likeliest weight of the category head in `joint_probabilities`, in 0..2.

    The likelihood is the probability of the true landmarks times a normal prior of mean 1 and
    variance 1/2. The prior means independent heads: a few images that are all right do not change
    it. Without images the weight is 1.

    Args:
        probabilities: By head, (N, L) for "landmark" and (N, C) for "category".
        truth: (N,) indices of the true classes, by head.
        taxonomy: The labels of both heads.
    """
    logarithms = {
        head: np.log(np.maximum(values.astype(np.float64), TINY))
        for head, values in probabilities.items()
    }
    first, second = logarithms["landmark"], logarithms["category"][:, taxonomy.parent_index]
    weights = np.linspace(0.0, HEAVIEST, WEIGHTS)
    losses = [
        (weight - 1) ** 2 - log_likelihood(first + weight * second, truth["landmark"])
        for weight in weights
    ]
    return float(weights[int(np.argmin(losses))])


def log_likelihood(scores: npt.NDArray[np.floating], truth: npt.NDArray[np.int64]) -> float:
    """Return the sum of log p(truth), p the softmax of (N, K) `scores`, (N,) true indices."""
    return float(log_softmax(scores)[np.arange(len(truth)), truth].sum())
