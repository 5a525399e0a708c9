"""From two heads to one answer: calibrated probabilities, decoded together."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import LmedgeError, ModelFileError
from .model_file import ModelFile

HEAVIEST = 2.0  # weight of the category head
Probabilities = npt.NDArray[np.float32]


def softmax(logits: npt.NDArray[np.floating], temperature: float = 1.0) -> Probabilities:
    """Return the softmax over the last axis of logits / temperature, float32.

    The temperature is that of Guo et al., arXiv:1706.04599.
    """
    scaled = np.asarray(logits, np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    exponentials = np.exp(scaled)
    total = exponentials.sum(axis=-1, keepdims=True)
    return np.asarray(exponentials / total, np.float32)


def log_softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return the logarithm of the softmax over the last axis, in the dtype of the logits."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def joint_probabilities(
    landmark: npt.NDArray[np.floating],
    category: npt.NDArray[np.floating],
    parents: npt.NDArray[np.intp],
    category_weight: float = 1.0,
) -> Probabilities:
    """Return the probability of each landmark by both heads: p(l) p(category of l)^w, renormalised.

    This is a product of experts (Hinton 2002). With a weight w of 1 the heads are independent
    witnesses of the image. With less, the category head repeats in part what the landmark head has
    seen. With 0 it does not count.

    Args:
        landmark: Probabilities, (..., L).
        category: Probabilities, (..., C).
        parents: The category of each landmark, (L,).
        category_weight: The weight w.

    Returns:
        Probabilities, (..., L) float32. If all products of an image are 0, they are those of the
        landmark head.
    """
    above = category[..., parents]
    product = landmark * (above if category_weight == 1.0 else above**category_weight)
    total = product.sum(axis=-1, keepdims=True)
    if not total.all():
        product, total = np.where(total > 0, product, landmark), np.where(total > 0, total, 1.0)
    return np.asarray(product / total, np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoding:
    """The weight of the category head, in 0..2, in the joint decoding of a file's two heads."""

    category_weight: float = 1.0

    def __post_init__(self) -> None:
        """Raise LmedgeError unless the weight is in range."""
        if not 0 <= self.category_weight <= HEAVIEST:
            raise LmedgeError(
                f"the weight of the category must be in 0..{HEAVIEST:g}, not {self.category_weight}"
            )

    @classmethod
    def of(cls, model: ModelFile) -> Decoding:
        """Return the decoding that the export fitted; without one, the weight is 1.

        Raises:
            ModelFileError: The value in the file cannot be used.
        """
        stored: Any = model.info.get("decoding")
        if stored is None:
            return cls()
        try:
            return cls(category_weight=float(stored["category_weight"]))
        except (LmedgeError, LookupError, TypeError, ValueError, OverflowError) as error:
            raise ModelFileError(
                f"{model.path}: its decoding cannot be used ({error}); export it again"
            ) from error
