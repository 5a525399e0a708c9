"""How good an epoch is, and whether it is the one to keep."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from lmedge.decoding import log_softmax
from lmedge.evaluation.metrics import macro_f1


@dataclasses.dataclass(frozen=True)
class Quality:
    """How good an epoch is, on the n images of the validation part."""

    macro_f1: float
    loss: float
    accuracy: float
    n: int

    def matches(self, best: Quality | None, keep: str) -> bool:
        """Whether this epoch, a later one, is kept in place of the best so far.

        keep "last": always. "loss": when its loss is no higher. "f1": unless its macro F1 is lower
        by more than two standard errors, a rule of Breiman et al. (1984) for choosing by a noisy
        score. One of thirty validation images is worth four points; without this an early epoch
        that was lucky would stand against a whole schedule.
        """
        if best is None or keep == "last":
            return True
        if keep == "loss":
            return self.loss <= best.loss
        share = (best.macro_f1 * best.n + 1) / (best.n + 2)  # Laplace: never an error of zero
        error = math.sqrt(share * (1 - share) / max(1, best.n))
        return self.macro_f1 >= best.macro_f1 - 2 * error

    def best(self, other: Quality | None, keep: str) -> Quality:
        """Return the better of the two, this one where they are equal."""
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
