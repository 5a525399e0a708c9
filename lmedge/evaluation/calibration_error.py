"""Expected calibration error: the distance between probability and accuracy."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

BINS = 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Images whose largest probability lies in one bin; all shares are in 0..1."""

    confidence: float
    accuracy: float
    share: float
    pictures: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReliabilityDiagram:
    """The bins that have images, and the expected calibration error over them, in 0..1."""

    error: float
    bins: tuple[ReliabilityBin, ...]


def reliability_diagram(
    probabilities: npt.NDArray[np.floating], truth: npt.NDArray[np.integer], bins: int = BINS
) -> ReliabilityDiagram:
    """Compare the largest probability of each image with how often it is right.

    The error is the mean over bins of equal width of |accuracy - mean probability|, weighted by
    their images (Guo et al., arXiv:1706.04599).

    Args:
        probabilities: (N, K) probabilities of N images, in 0..1.
        truth: (N,) indices of the true classes.
        bins: Number of bins between 0 and 1.

    Returns:
        The diagram; without images it has no bins, and its error is 0.
    """
    sure = np.asarray(probabilities, np.float64).max(axis=1) if len(truth) else np.zeros(0)
    right = probabilities.argmax(axis=1) == truth if len(truth) else np.zeros(0, np.bool_)
    places = np.clip(np.ceil(sure * bins).astype(np.intp) - 1, 0, bins - 1)
    found = tuple(
        ReliabilityBin(
            confidence=float(sure[places == place].mean()),
            accuracy=float(right[places == place].mean()),
            share=float((places == place).mean()),
            pictures=int((places == place).sum()),
        )
        for place in np.unique(places).tolist()
    )
    error = sum(one.share * abs(one.accuracy - one.confidence) for one in found)
    return ReliabilityDiagram(error=error, bins=found)


def expected_calibration_error(
    probabilities: npt.NDArray[np.floating], truth: npt.NDArray[np.integer]
) -> float:
    """Return the error of the `reliability_diagram` alone, in 0..1."""
    return reliability_diagram(probabilities, truth).error
