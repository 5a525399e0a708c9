"""How much of the fine-tuned weights is kept; the rest is what fine-tuning started from.

Averaging both keeps what was right before and most of what was learned (Wortsman et al.,
arXiv:2109.01903). How much is best depends on how many images there were to learn from.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..run import Weights

STEP = 0.1


def blended(start: Weights, kept: Weights, share: float) -> Weights:
    """Return start + share (kept - start): what was frozen stays as it was, to the last bit."""
    part = np.float32(share)
    return {name: start[name] + part * (value - start[name]) for name, value in kept.items()}


def likeliest(share: float, spread: float, likelihood: Callable[[float], float]) -> float:
    """Return the share, in steps of 0.1 from `share` and within 0..1, that is likeliest.

    By `likelihood`, the log likelihood of the validation part, and a normal prior around `share`
    with the standard deviation `spread`: a few images do not move it, some hundred may. With a
    spread of 0 nothing does. The likelihood is taken to have one maximum, and asked more than once.
    """

    def worth(steps: int) -> float:
        return likelihood(at(steps)) - (steps * STEP / spread) ** 2 / 2

    def at(steps: int) -> float:
        return round(share + steps * STEP, 6)

    if spread == 0:
        return share
    best = 0
    for direction in (1, -1):
        while 0 < at(best + direction) <= 1 and worth(best + direction) > worth(best):
            best += direction
        if best:
            break
    return at(best)
