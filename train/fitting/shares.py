"""The share of a phase's weights that is kept, chosen by the validation part."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, read_arrays
from ..backend import keras
from ..calibration import calibrated_likelihood
from ..network import set_weights
from ..run import Run
from .checkpoint import blended, phase_file, write_share
from .validation import likeliest_share

logger = logging.getLogger(__name__)


def choose_share(
    run: Run,
    phase: str,
    *,
    share: float,
    spread: float,
    network: keras.Model,
    predict: Callable[[], dict[str, Floats]],
    truths: Mapping[str, npt.NDArray[np.int64]],
) -> None:
    """Write the share of the fitted weights that is kept.

    Args:
        run: the run folder, which has the weights at the start of the phase and the kept ones.
        phase: the name of the phase.
        share: the share of the recipe.
        spread: the standard deviation by which the validation part may move it.
        network: the whole network; its weights change.
        predict: returns the logits of the validation part by head, with the network's weights.
        truths: the true classes of the validation part by head.
    """
    kept_path = phase_file(run, phase, "-best")
    start, kept = read_arrays(phase_file(run, phase, "-start")), read_arrays(kept_path)

    @functools.cache
    def likelihood(share: float) -> float:
        set_weights(network, blended(start, kept, share), kept_path)
        return calibrated_likelihood(predict(), truths)

    count = min(len(truth) for truth in truths.values())
    found = likeliest_share(share, spread if count else 0.0, likelihood)
    logger.info("%s: %g of the weights it ends with are kept", phase, found)
    if found != share:
        logger.info(
            "by the validation part: its log loss is %.4f with %g and %.4f with %g",
            -likelihood(found) / count,
            found,
            -likelihood(share) / count,
            share,
        )
    write_share(run, phase, found)
