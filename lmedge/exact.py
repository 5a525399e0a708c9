"""Probabilities that are equal to the last bit, whichever kernels computed the softmax.

The logits of an int8 file are whole steps, and every kernel computes the same ones. Their softmax
is in float32, and kernels round it differently: by some units of the seventh decimal. The ratio of
two probabilities still tells how many steps lie between their logits. The softmax of these steps is
computed again, by additions, multiplications and divisions of float64 alone. These are the same on
every machine. The page of `lmedge app` does the same, operation by operation:
page/src/labels/exact.ts.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .graph import TensorSpec

SMALLEST_STEP = 1e-3  # of logits; below it the rounding of a kernel may hide a step
LARGEST_STEP = 16.0
STEPS = 255  # between the largest and the smallest int8
NOTHING = 1e-37  # a probability that kernels may make 0
ROOM = 1e-5  # by which a probability may be rounded; with more, the kernel's own ones are kept
KNOWN_STEPS = 1024  # of the output `known`, whose sums kernels round differently too
_HALVINGS = 10
_TERMS = 8


class ExactSoftmax:
    """The softmax of logits that are `step` apart, or whole multiples of it."""

    def __init__(self, step: float) -> None:
        """Prepare the powers of exp(-step); `step` is in SMALLEST_STEP..LARGEST_STEP."""
        self._per_step = 1.0 / step
        ratio = _exponential(step)
        powers = [1.0]
        for _ in range(STEPS):
            powers.append(powers[-1] * ratio)
        self._powers = powers

    def again(self, values: Sequence[float]) -> npt.NDArray[np.float32] | None:
        """Return the probabilities (K,) of a kernel, computed exactly.

        None if they are no softmax of such logits, or rounded by more than ROOM.
        """
        # Plain Python, as after every invoke: see Classifier.
        top, log, per_step = max(values), math.log, self._per_step
        if not top > NOTHING:
            return None
        first = log(top) * per_step + 0.5
        try:
            powers = [
                self._powers[int(first - log(value) * per_step)] if value > NOTHING else 0.0
                for value in values
            ]
        except IndexError:  # farther apart than int8 are
            return None
        total = 0.0  # not sum(), which newer versions of Python compensate
        for power in powers:
            total += power
        found = [power / total for power in powers]
        if max(map(abs, map(operator.sub, found, values))) > ROOM:
            return None
        return np.array(found, np.float32)


def softmax_of(step: float) -> ExactSoftmax | None:
    """Return the softmax of logits that are `step` apart; None if steps cannot be told apart."""
    return ExactSoftmax(step) if SMALLEST_STEP <= step <= LARGEST_STEP else None


def is_exact(heads: Mapping[str, TensorSpec]) -> bool:
    """Return True if the probabilities of all heads are computed again, as of an int8 file."""
    return all(softmax_of(one.logit_step) is not None for one in heads.values())


def known_steps(value: float) -> float:
    """Return a value of the output `known`, in 0..1, in whole KNOWN_STEPS."""
    return math.floor(value * KNOWN_STEPS + 0.5) / KNOWN_STEPS


def _exponential(step: float) -> float:
    """Return exp(-step) by operations that every machine rounds alike; not always math.exp's."""
    part, total = step / 2**_HALVINGS, 1.0
    for term in range(_TERMS, 0, -1):
        total = 1.0 - part * total / term
    for _ in range(_HALVINGS):
        total *= total
    return total
