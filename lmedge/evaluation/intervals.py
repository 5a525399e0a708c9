"""Intervals of 95 %: of a share, of a difference of macro F1, of a ratio of times."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
RESAMPLES = 4000
RATIO_RESAMPLES = 2000
CHUNK = 200  # resamples at a time: memory stays bounded
COVERAGE = 0.95
NORMAL = 1.959963984540054  # standard deviations of a 95 % interval


def paired_interval(
    truth: Indices, before: Indices, after: Indices, classes: int, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of macro F1 `after` minus `before`, each in 0..1.

    Images are drawn with replacement RESAMPLES times, both predictions of an image together. The
    interval lies between percentiles of the differences (Efron and Tibshirani 1993, 13.3). Macro
    F1 is that of `score_head`, over the classes in the truth of the resample.

    Args:
        truth: (N,) indices of the true classes.
        before: (N,) predictions of one network for the same images.
        after: (N,) predictions of the other.
        classes: Number of classes.
        seed: Seed of the resamples.
    """
    rng, count = np.random.default_rng(seed), len(truth)
    if count == 0:
        return 0.0, 0.0
    # Images with the same truth and the same two predictions are drawn as one.
    kinds, counts = np.unique(np.stack([truth, before, after]), axis=1, return_counts=True)
    truly, *guesses = (np.eye(classes)[kind] for kind in kinds)
    hits = [(kinds[0] == kind)[:, None] for kind in kinds[1:]]
    found: list[Floats] = []
    for start in range(0, RESAMPLES, CHUNK):
        size = min(CHUNK, RESAMPLES - start)
        drawn = rng.multinomial(count, counts / count, size).astype(np.float64)
        support = drawn @ truly
        first, second = (
            _macro_f1(support, drawn @ guess, drawn @ (truly * hit))
            for guess, hit in zip(guesses, hits, strict=True)
        )
        found.append(second - first)
    tail = 50 * (1 - COVERAGE)
    low, high = np.percentile(np.concatenate(found), [tail, 100 - tail])
    return float(low), float(high)


def macro_f1_interval(confusion: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return the 95 % interval of macro F1, 0..1, by bootstrap within each class.

    A resample has as many images of each class as there are. The interval is at least as wide on
    either side as that of the accuracy by Wilson: a bootstrap of images that are all right has no
    width.

    Args:
        confusion: (C, C); `confusion[i, j]` counts images of class i predicted as j.
    """
    support, classes = confusion.sum(axis=1), len(confusion)
    count, right = int(support.sum()), int(np.diag(confusion).sum())
    if count == 0:
        return 0.0, 1.0
    rng, size = np.random.default_rng(0), RATIO_RESAMPLES
    guessed, hits = np.zeros((size, classes)), np.zeros((size, classes))
    for one in np.flatnonzero(support):
        drawn = rng.multinomial(int(support[one]), confusion[one] / support[one], size)
        guessed += drawn
        hits[:, one] = drawn[:, one]
    every = np.broadcast_to(support.astype(np.float64), guessed.shape)
    tail = 50 * (1 - COVERAGE)
    low, high = np.percentile(_macro_f1(every, guessed, hits), [tail, 100 - tail]).tolist()
    seen = np.atleast_2d(confusion.sum(axis=0)).astype(np.float64)
    value = float(_macro_f1(every[:1], seen, np.atleast_2d(np.diag(confusion)).astype(float))[0])
    share = right / count
    least, most = wilson_interval(right, count)
    return max(0.0, min(low, value - (share - least))), min(1.0, max(high, value + most - share))


def _macro_f1(support: Floats, guessed: Floats, right: Floats) -> Floats:
    """Return macro F1 of each resample, (R,), from (R, classes) counts."""
    total = support + guessed
    f1 = np.divide(2 * right, total, out=np.zeros_like(total), where=total > 0)
    own = np.where(support > 0, f1, 0.0)
    return np.asarray(own.sum(axis=1) / (support > 0).sum(axis=1), np.float64)


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of the share right / n (Wilson, 1927); (0, 1) if n is 0."""
    if n == 0:
        return 0.0, 1.0
    share, square = right / n, NORMAL**2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = NORMAL * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def undetected_share(count: int) -> float:
    """Return the largest share of differing predictions that `count` equal ones do not exclude.

    It is the upper 95 % bound of Clopper and Pearson for no event: 1 - 0.05^(1/n).
    """
    return 1.0 if count == 0 else float(1 - (1 - COVERAGE) ** (1 / count))


def ratio_interval(times: Floats, first: Floats, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile-bootstrap interval of median(times) / median(first).

    Both are (rounds,). Whole rounds are drawn, so that disturbances of both stay together.
    """
    draws = np.random.default_rng(seed).integers(0, len(times), (RATIO_RESAMPLES, len(times)))
    ratios = np.median(times[draws], axis=1) / np.median(first[draws], axis=1)
    low, high = np.percentile(ratios, (2.5, 97.5)).tolist()
    return low, high
