"""The threshold below which an image shows none of the landmarks that the file knows.

An unknown image may make each head sure, but seldom of a landmark and of the very category that it
belongs to. The agreement is the sum over landmarks of p(landmark) p(its category). It detects
unknown images better than the largest probability does and needs nothing but the two outputs.
docs/results.md has the comparison.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import LmedgeError, ModelFileError
from .model_file import KNOWN, ModelFile

AGREEMENT = "agreement"
UNKNOWN = "not a landmark"
COVERAGE = 0.95
Values = npt.NDArray[np.floating]


def agreement(landmark: Values, category: Values, parents: npt.NDArray[np.intp]) -> Values:
    """Return the probability that both heads name the same landmark, if they are independent.

    Args:
        landmark: Probabilities, (..., L).
        category: Probabilities, (..., C).
        parents: The category of each landmark, (L,).

    Returns:
        Probabilities in 0..1, (...,).
    """
    return np.asarray((landmark * category[..., parents]).sum(axis=-1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Threshold:
    """The least score of an image that shows a known landmark, 0..1; 0 refuses nothing.

    The score is KNOWN, the probability of the file's third output, or AGREEMENT, that of both
    heads.
    """

    least: float = 0.0
    score: str = AGREEMENT

    def __post_init__(self) -> None:
        """Raise LmedgeError unless the value is in range and the score one of the two."""
        if not 0 <= self.least <= 1:
            raise LmedgeError(f"a threshold must be in 0..1, not {self.least}")
        if self.score not in (AGREEMENT, KNOWN):
            raise LmedgeError(f"its score is {self.score!r}")

    def describe(self) -> str:
        """Return the score and its least value, to follow "below"."""
        what = "an agreement" if self.score == AGREEMENT else "a known_probability"
        return f"{what} of {self.least:.3f}"

    def score_of(self, agreement: float, known: float | None) -> float:
        """Return the one of an image's two scores that the threshold applies to."""
        return agreement if self.score == AGREEMENT or known is None else known

    @classmethod
    def of(cls, model: ModelFile) -> Threshold:
        """Return the threshold that the export fitted; without one, nothing is refused.

        Raises:
            ModelFileError: The value in the file cannot be used.
        """
        stored: Any = model.info.get("rejection")
        if stored is None:
            return cls()
        try:
            found = cls(least=float(stored["threshold"]), score=stored.get("score", AGREEMENT))
            if found.score == KNOWN and model.known is None:
                raise LmedgeError("it applies to an output that the file does not have")
            return found
        except (LmedgeError, LookupError, TypeError, ValueError, OverflowError) as error:
            raise ModelFileError(
                f"{model.path}: its threshold cannot be used ({error}); export it again"
            ) from error
