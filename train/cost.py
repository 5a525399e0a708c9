"""The time of a training, estimated from the speed of this machine before it begins."""

from __future__ import annotations

import logging
import time

import numpy as np

from .arrays import Images
from .backend import keras
from .network import predict_logits
from .run import Run

BATCH = 32
STEP = 4.0  # a step of fine-tuning takes so many times as long as a prediction, on two CPU cores
PHASE_SECONDS = 8.0  # TensorFlow builds the graph of a phase
logger = logging.getLogger(__name__)


def log_cost(run: Run, network: keras.Model) -> None:
    """Log which networks are trained, on which images, and in about how many minutes."""
    rate, plan = images_per_second(network, run.recipe.data.image_size), run.plan
    count = len(run.entries("train"))
    if plan is None:
        logger.info("one network learns from %d images: %s", count, _about(run, [count], rate))
        return
    each = [count - int((plan.fold == number).sum()) for number in range(plan.networks)]
    settings = run.recipe.data
    test = 0.0 if run.entries("test") else settings.test_fraction
    less = round(count * (1 - settings.val_fraction - test))
    logger.info(
        "%d images are predicted by %s that learned from the others, then one network learns "
        "from all %d: %s. With --hold-out one network learns from about %d: %s",
        len(plan.measured),
        f"{plan.networks} networks" if plan.networks > 1 else "a network",
        count,
        _about(run, [*each, count], rate),
        less,
        _about(run, [less], rate),
    )


def _about(run: Run, images: list[int], rate: float) -> str:
    return f"about {max(1, round(minutes(run, images, rate)))} min"


def minutes(run: Run, images: list[int], rate: float) -> float:
    """Return the minutes in which networks learn from so many images each, at `rate` images/s."""
    recipe = run.recipe
    epochs = sum(recipe.fine_tune.epochs)
    copies = 1 + len(recipe.augment.copies)
    views = STEP * epochs + 2 * copies + recipe.head.views + recipe.second_head.views
    return sum(count * views / rate + 4 * PHASE_SECONDS for count in images) / 60


def images_per_second(network: keras.Model, size: int) -> float:
    """Return how many images of a side the network predicts in a second, built once before."""
    blank: Images = np.zeros((BATCH, size, size, 3), np.uint8)
    predict_logits(network, blank, BATCH)
    began = time.monotonic()
    predict_logits(network, blank, BATCH)
    return BATCH / max(1e-6, time.monotonic() - began)
