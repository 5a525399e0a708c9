"""Linear discriminant analysis with a shrunken covariance: an output layer in closed form.

With a dozen pictures a landmark it is the better of the linear classifiers on frozen features: it
knows how features vary within a landmark from all landmarks together, where gradient descent sees
each landmark's few pictures alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.optimize

Floats = npt.NDArray[np.float64]


def discriminant(
    features: npt.NDArray[np.float32],
    truth: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32] | None,
    classes: int,
    *,
    shrinkage: float,
    smoothing: float,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the kernel (F, classes) and bias (classes,) of a linear output on (N, F) features.

    Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 4.3: the log-posterior
    of classes with equal priors and one covariance, here of features scaled to unit variance and
    drawn to the identity by `shrinkage` (Friedman 1989). All logits are then scaled by the one
    factor that gives the least cross-entropy against targets smoothed by `smoothing`; without it
    they are as sure as the Gaussians, which is far too sure. weights: (N,) or None. Every class
    must have a picture.
    """
    x = features.astype(np.float64)
    share = np.ones(len(x)) if weights is None else weights.astype(np.float64)
    means = _means(x, truth, share, classes)
    inner = (x - means[truth]) * np.sqrt(share / share.sum())[:, None]
    spread = np.sqrt((inner**2).sum(axis=0))
    spread[spread == 0] = 1.0
    inner /= spread
    covariance = (1 - shrinkage) * (inner.T @ inner)
    covariance[np.diag_indices_from(covariance)] += shrinkage
    scaled = means / spread
    kernel = scipy.linalg.solve(covariance, scaled.T, assume_a="pos")
    bias = -0.5 * np.einsum("cf,fc->c", scaled, kernel)
    kernel = kernel / spread[:, None]
    kernel -= kernel.mean(axis=1, keepdims=True)  # what all logits share says nothing
    bias -= bias.mean()
    factor = _scale(x @ kernel + bias, truth, share, smoothing)
    return (kernel * factor).astype(np.float32), (bias * factor).astype(np.float32)


def _means(x: Floats, truth: npt.NDArray[np.int64], share: Floats, classes: int) -> Floats:
    """Mean of each class, (classes, F)."""
    own = [truth == number for number in range(classes)]
    return np.stack([np.average(x[mine], axis=0, weights=share[mine]) for mine in own])


def _scale(logits: Floats, truth: npt.NDArray[np.int64], share: Floats, smoothing: float) -> float:
    classes = logits.shape[1]
    targets = np.eye(classes)[truth] * (1 - smoothing) + smoothing / classes

    def loss(logarithm: float) -> float:
        scaled = logits * np.exp(logarithm)
        shifted = scaled - scaled.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return float(-(share[:, None] * targets * log_p).sum())

    return float(
        np.exp(scipy.optimize.minimize_scalar(loss, bounds=(-12.0, 0.0), method="bounded").x)
    )
