"""The decisions of the validation part: which epoch is kept, and which share of its weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from lmedge.decoding import log_softmax
from lmedge.evaluation.metrics import macro_f1

SHARE_STEP = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality:
    """The figures of an epoch on the n images of the validation part."""

    macro_f1: float
    loss: float
    accuracy: float
    n: int

    def matches(self, best: Quality | None, keep: str) -> bool:
        """Return true if this later epoch is kept in place of the best so far.

        keep "last": always. "loss": if its loss is no higher. "f1": unless its macro F1 is lower
        by more than two standard errors, a rule of Breiman et al. (1984) for choosing by a noisy
        score. One of thirty validation images is worth four points. Without the rule an early
        epoch that was lucky would be kept against a whole schedule.
        """
        if best is None or keep == "last":
            return True
        if keep == "loss":
            return self.loss <= best.loss
        share = (best.macro_f1 * best.n + 1) / (best.n + 2)  # Laplace: never an error of zero
        error = math.sqrt(share * (1 - share) / max(1, best.n))
        return self.macro_f1 >= best.macro_f1 - 2 * error

    def best(self, other: Quality | None, keep: str) -> Quality:
        """Return the better of the two, this one if they are equal."""
        if other is None:
            return self
        if keep == "loss":
            return self if self.loss <= other.loss else other
        return self if self.macro_f1 >= other.macro_f1 else other


def quality_of(logits: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> Quality:
    """Return the quality of (N, C) logits against (N,) indices, without label smoothing."""
    guess = logits.argmax(axis=1)
    return Quality(
        macro_f1=macro_f1(truth, guess, logits.shape[1]),
        loss=float(-log_softmax(logits)[np.arange(len(truth)), truth].mean()),
        accuracy=float((guess == truth).mean()),
        n=len(truth),
    )


def mean_quality(heads: Sequence[Quality]) -> Quality:
    """Return the mean of the qualities of several heads on the same images."""
    return Quality(
        macro_f1=float(np.mean([quality.macro_f1 for quality in heads])),
        loss=float(np.mean([quality.loss for quality in heads])),
        accuracy=float(np.mean([quality.accuracy for quality in heads])),
        n=heads[0].n,
    )


def likeliest_share(share: float, spread: float, likelihood: Callable[[float], float]) -> float:
    """Return the likeliest share of fine-tuned weights, in steps of 0.1 from `share`, within 0..1.

    The prior is normal around `share`: a few images do not move it, some hundred may. The
    likelihood is assumed to have one maximum.

    Args:
        share: the share of the recipe.
        spread: the standard deviation of the prior; 0 returns `share`.
        likelihood: the log likelihood of the validation part by share; called more than once for
            the same share.
    """

    def worth(steps: int) -> float:
        return likelihood(at(steps)) - (steps * SHARE_STEP / spread) ** 2 / 2

    def at(steps: int) -> float:
        return round(share + steps * SHARE_STEP, 6)

    if spread == 0:
        return share
    best = 0
    for direction in (1, -1):
        while 0 < at(best + direction) <= 1 and worth(best + direction) > worth(best):
            best += direction
        if best:
            break
    return at(best)
