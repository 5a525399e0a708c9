"""Linear discriminant analysis with a shrunken covariance: an output layer in closed form.

With a dozen images a landmark it is the better linear classifier on frozen features. All landmarks
together show how features vary within a landmark; gradient descent uses the few images of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.optimize

from lmedge.decoding import log_softmax
from lmedge.errors import DivergedError

from ..cluster.sharing import summed

Floats = npt.NDArray[np.float64]
BLOCK = 2048
SCALED = 20_000


@np.errstate(over="ignore", invalid="ignore")  # what is not finite has no solution
def discriminant(
    features: npt.NDArray[np.float32],
    truth: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32] | None,
    classes: int,
    *,
    shrinkage: float,
    smoothing: float,
    own: Sequence[int] | None = None,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the kernel (F, classes) and bias (classes,) of a linear output on (N, F) features.

    Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 4.3: the log-posterior
    of classes with equal priors and one covariance. The features are scaled to unit variance, and
    their covariance is shrunk towards the identity (Friedman 1989). All logits are then scaled by
    the one factor with the least cross-entropy against smoothed targets. Without it they are far
    too confident.

    Args:
        features: (N, F) float32. They may be on disk: BLOCK images are in memory at once.
        truth: (N,) class indices. Every class must have an image.
        weights: of the images, (N,), or None.
        classes: the number of classes.
        shrinkage: of the covariance, 0..1.
        smoothing: of the targets. At most SCALED images, evenly spaced, choose the factor.
        own: the indices of the N images that `features` has rows of, if several workers each have
            some. Their sums are added in float64. None for all.

    Raises:
        DivergedError: The features are too large, or too alike, to be solved for.
    """
    share = np.ones(len(truth)) if weights is None else weights.astype(np.float64)
    mine = np.asarray(() if own is None else own, np.int64)
    own_truth, own_share = (truth, share) if own is None else (truth[mine], share[mine])
    means = _means(features, own_truth, own_share, classes)
    covariance = np.zeros((features.shape[1],) * 2)
    for rows in _blocks(len(own_truth)):
        inner = features[rows] - means[own_truth[rows]]
        inner *= np.sqrt(own_share[rows] / share.sum())[:, None]
        covariance += inner.T @ inner
    covariance = summed(covariance)
    spread = np.sqrt(np.diag(covariance))
    spread[spread == 0] = 1.0
    covariance *= (1 - shrinkage) / np.outer(spread, spread)
    covariance[np.diag_indices_from(covariance)] += shrinkage
    scaled = means / spread
    try:
        kernel = scipy.linalg.solve(covariance, scaled.T, assume_a="pos")
    except (scipy.linalg.LinAlgError, ValueError) as error:
        raise DivergedError(f"the features have no covariance to solve with ({error})") from error
    bias = -0.5 * np.einsum("cf,fc->c", scaled, kernel)
    kernel = kernel / spread[:, None]
    kernel -= kernel.mean(axis=1, keepdims=True)  # a constant of all logits has no effect
    bias -= bias.mean()
    step = -(-len(truth) // SCALED)
    if own is None:
        logits = features[::step] @ kernel + bias
    else:
        logits = np.zeros((len(truth[::step]), classes))
        chosen = np.flatnonzero(mine % step == 0)
        for some in _blocks(len(chosen)):
            logits[mine[chosen[some]] // step] = features[chosen[some]] @ kernel + bias
        logits = summed(logits)
    factor = _scale(logits, truth[::step], share[::step], smoothing)
    return (kernel * factor).astype(np.float32), (bias * factor).astype(np.float32)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))


def _means(
    x: npt.NDArray[np.float32], truth: npt.NDArray[np.int64], share: Floats, classes: int
) -> Floats:
    """Mean of each class over all workers' images, (classes, F)."""
    sums, totals = np.zeros((classes, x.shape[1])), np.zeros((classes, 1))
    for rows in _blocks(len(truth)):
        chosen = np.zeros((classes, len(truth[rows])))
        chosen[truth[rows], np.arange(chosen.shape[1])] = share[rows]
        sums += chosen @ x[rows]
        totals += chosen.sum(axis=1, keepdims=True)
    return np.asarray(summed(sums) / summed(totals), np.float64)


def _scale(logits: Floats, truth: npt.NDArray[np.int64], share: Floats, smoothing: float) -> float:
    classes = logits.shape[1]
    targets = np.eye(classes)[truth] * (1 - smoothing) + smoothing / classes

    def loss(logarithm: float) -> float:
        log_p = log_softmax(logits * np.exp(logarithm))
        return float(-(share[:, None] * targets * log_p).sum())

    return float(
        np.exp(scipy.optimize.minimize_scalar(loss, bounds=(-12.0, 0.0), method="bounded").x)
    )
