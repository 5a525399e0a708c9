"""From two heads to one answer: calibrated probabilities, decoded together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.float32]


def softmax(logits: npt.NDArray[np.floating], temperature: float = 1.0) -> Probabilities:
    """Softmax over the last axis of logits / temperature (Guo et al., arXiv:1706.04599)."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    exponentials = np.exp(scaled)
    total = exponentials.sum(axis=-1, keepdims=True)
    return np.asarray(exponentials / total, np.float32)


def joint_probabilities(
    landmark: npt.NDArray[np.floating],
    category: npt.NDArray[np.floating],
    parents: npt.NDArray[np.intp],
) -> Probabilities:
    """Probability of each landmark when both heads speak: p(l) p(category of l), renormalised.

    landmark: (..., L), category: (..., C), parents: (L,). Returns (..., L) float32. The two heads
    are taken as independent witnesses of the same picture (a product of experts, Hinton 2002).
    Where the product vanishes everywhere the landmark head alone is returned.
    """
    product = landmark * category[..., parents]
    total = product.sum(axis=-1, keepdims=True)
    if not total.all():
        product, total = np.where(total > 0, product, landmark), np.where(total > 0, total, 1.0)
    return np.asarray(product / total, np.float32)
