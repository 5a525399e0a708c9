"""Score what two heads say together, from their probabilities alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .decoding import joint_probabilities
from .metrics import HeadScore, score_head
from .taxonomy import Taxonomy


@dataclasses.dataclass(frozen=True)
class Scores:
    """Both heads decoded together, as a Prediction does it; and what each says alone.

    `conflict_rate` is the share of pictures, 0..1, for which the heads alone name a landmark and a
    category that do not belong together.
    """

    landmark: HeadScore
    category: HeadScore
    landmark_marginal: HeadScore
    category_marginal: HeadScore
    conflict_rate: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return {
            "landmark": self.landmark.as_dict(),
            "category": self.category.as_dict(),
            "landmark_marginal": _brief(self.landmark_marginal),
            "category_marginal": _brief(self.category_marginal),
            "conflict_rate": self.conflict_rate,
        }

    def brief(self) -> dict[str, Any]:
        """Return macro F1 and accuracy of both heads, for the card inside the file."""
        return {"landmark": _brief(self.landmark), "category": _brief(self.category)}


def _brief(score: HeadScore) -> dict[str, Any]:
    return {"macro_f1": score.macro_f1, "accuracy": score.accuracy, "n": score.n}


def score_probabilities(
    probabilities: Mapping[str, npt.NDArray[np.float32]],
    truth: Mapping[str, npt.NDArray[np.int64]],
    taxonomy: Taxonomy,
) -> Scores:
    """Score (N, L) and (N, C) probabilities, by head, against (N,) true indices, by head."""
    parents = taxonomy.parent_index
    landmark, category = probabilities["landmark"], probabilities["category"]
    together = joint_probabilities(landmark, category, parents).argmax(axis=1)
    alone, alone_above = landmark.argmax(axis=1), category.argmax(axis=1)
    return Scores(
        landmark=score_head(truth["landmark"], together, taxonomy.landmarks),
        category=score_head(truth["category"], parents[together], taxonomy.categories),
        landmark_marginal=score_head(truth["landmark"], alone, taxonomy.landmarks),
        category_marginal=score_head(truth["category"], alone_above, taxonomy.categories),
        conflict_rate=float((parents[alone] != alone_above).mean()) if len(alone) else 0.0,
    )
