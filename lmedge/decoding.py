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
    return (exponentials / exponentials.sum(axis=-1, keepdims=True)).astype(np.float32)


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
    product = np.asarray(landmark, np.float64) * np.asarray(category, np.float64)[..., parents]
    total = product.sum(axis=-1, keepdims=True)
    alone = np.asarray(landmark, np.float64)
    joint = np.where(total > 0, product / np.where(total > 0, total, 1.0), alone)
    return joint.astype(np.float32)


def category_of_joint(
    joint: npt.NDArray[np.floating], parents: npt.NDArray[np.intp], categories: int
) -> Probabilities:
    """Sum the joint probability (..., L) over the landmarks of each category: (..., C) float32."""
    membership = np.zeros((len(parents), categories))
    membership[np.arange(len(parents)), parents] = 1.0
    return (np.asarray(joint, np.float64) @ membership).astype(np.float32)
