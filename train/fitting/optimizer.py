"""The optimizer of a phase, and the schedule of its learning rate."""

from __future__ import annotations

from ..backend import keras
from ..recipes.sections import FitSettings


def make_optimizer(
    settings: FitSettings, *, epochs: int, steps: int, warm_up: bool
) -> keras.optimizers.Optimizer:
    """Return the optimizer of a phase of `epochs` epochs of `steps` batches.

    `warm_up` raises the learning rate over the first epoch.
    """
    rate = _schedule(settings, epochs, steps, warm_up)
    if settings.optimizer == "sgd":
        decay = settings.weight_decay or None
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=decay)
    elif settings.optimizer == "adam":
        optimizer = keras.optimizers.Adam(rate, weight_decay=settings.weight_decay or None)
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _schedule(
    settings: FitSettings, epochs: int, steps: int, warm_up: bool
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    rate, total = settings.learning_rate, max(1, steps * epochs)
    if settings.schedule == "constant":
        return rate
    if warm_up:
        # The first steps of Adam move every weight by the whole rate, whatever the gradient:
        # without a warm-up they destroy pretrained features before there is anything to learn.
        return keras.optimizers.schedules.CosineDecay(
            0.0, max(1, total - steps), warmup_target=rate, warmup_steps=steps
        )
    return keras.optimizers.schedules.CosineDecay(rate, total)
