"""One phase of fitting: loss, schedule, the best epoch kept, and going on after a kill."""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lmedge.progress import Advance, progress

from ..arrays import read_arrays
from ..backend import keras, tf
from ..calibration import calibrated_likelihood
from ..network import set_weights
from ..recipes.sections import FitSettings
from ..reports.tensorboard import epoch_log
from ..run import HistoryRow, Run
from .checkpoint import (
    Checkpoint,
    blended,
    phase_file,
    restore_finished,
    start_weights,
    write_share,
)
from .replicas import feed, predicted
from .validation import Quality, likeliest_share, quality_of

QUIET_SECONDS = 2.0  # epochs on cached features end before anybody has read a line
logger = logging.getLogger(__name__)

# An epoch's batches: a keras Sequence of (inputs, targets by head[, weights by head]).
Epoch = Callable[[int], keras.utils.Sequence]
Inputs = Any  # (N, ...) float32, or a keras Sequence of them


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitting:
    """The model of a phase, its batches and its settings.

    Attributes:
        phase: the name of the phase.
        model: gives logits by head.
        network: the whole network, which is saved.
        batches: returns the batches of an epoch.
        validation: (inputs, truth by head) of the validation part, inputs as `model` takes them.
        epochs: the number of epochs.
        settings: optimizer, schedule and the rule of the epoch that is kept.
        loss_weights: by head. A head without truth is held, not scored.
        blend: the share of the fitted weights in what is kept. The rest is what fitting started
            from; 1 for no rest.
        spread: the standard deviation by which the validation part may move `blend`.
        choose: if false, the caller writes the share, and the phase ends without it.
        warm_up: if true, the learning rate rises over the first epoch.
        xla: if true, the step is compiled.
    """

    phase: str
    model: keras.Model
    network: keras.Model
    batches: Epoch
    validation: tuple[Inputs, Mapping[str, npt.NDArray[np.int64]]]
    epochs: int
    settings: FitSettings
    loss_weights: Mapping[str, float]
    blend: float = 1.0
    spread: float = 0.0
    choose: bool = True
    warm_up: bool = False
    xla: bool = False


def fit(run: Run, fitting: Fitting) -> None:
    """Fit and leave the network with the weights of the epoch that is kept, blended.

    A checkpoint is written after each epoch. A phase that was interrupted goes on after its last
    one; a phase that ended is restored without fitting.
    """
    steps = len(fitting.batches(0))
    optimizer = compile_for(fitting, steps)
    state = Checkpoint(run, fitting.phase, fitting.network, optimizer)
    start, best = state.restore(fitting.model.trainable_variables)
    if start:
        logger.info("%s: %d of %d epochs were done", fitting.phase, start, fitting.epochs)
    if fitting.blend < 1:
        start_weights(run, fitting.phase, fitting.network)
    if start < fitting.epochs:
        with (
            progress(f"{fitting.phase}", (fitting.epochs - start) * steps) as advance,
            epoch_log(run.folder, fitting.phase) as log,
        ):
            counter = _Counter(advance)
            for epoch in range(start, fitting.epochs):
                row, quality = _epoch(fitting, epoch, counter)
                keep = fitting.settings.keep
                kept, best = quality.matches(best, keep), quality.best(best, keep)
                state.save(row, best, keep=kept)
                log(row)
    if fitting.blend < 1 and fitting.choose:
        _choose_share(run, fitting)
    restore_finished(run, fitting.phase, fitting.network, fitting.epochs, fitting.blend < 1)


def _choose_share(run: Run, fitting: Fitting) -> None:
    """Write the share of the fitted weights that is kept."""
    kept_path = phase_file(run, fitting.phase, "-best")
    start, kept = read_arrays(phase_file(run, fitting.phase, "-start")), read_arrays(kept_path)
    inputs, truths = fitting.validation

    @functools.cache
    def likelihood(share: float) -> float:
        set_weights(fitting.network, blended(start, kept, share), kept_path)
        return calibrated_likelihood(predicted(fitting.model, inputs), truths)

    count = min(len(truth) for truth in truths.values())
    share = likeliest_share(fitting.blend, fitting.spread if count else 0.0, likelihood)
    logger.info("%s: %g of the weights it ends with are kept", fitting.phase, share)
    if share != fitting.blend:
        logger.info(
            "by the validation part: its log loss is %.4f with %g and %.4f with %g",
            -likelihood(share) / count,
            share,
            -likelihood(fitting.blend) / count,
            fitting.blend,
        )
    write_share(run, fitting.phase, share)


def record_solved(
    run: Run, fitting: Fitting, *, loss: float, accuracy: float, seconds: float
) -> None:
    """Record a phase in closed form as one epoch; loss and accuracy are of the training copies."""
    quality = validate(fitting)
    row = HistoryRow(
        phase=fitting.phase,
        epoch=1,
        loss=loss,
        accuracy=accuracy,
        val_loss=quality.loss,
        val_accuracy=quality.accuracy,
        val_macro_f1=quality.macro_f1,
        learning_rate=0.0,
        seconds=round(seconds, 3),
    )
    logger.info("%s: solved, %s", row.phase, _figures(row, quality))
    Checkpoint(run, fitting.phase, fitting.network).save(row, quality, keep=True)


def _epoch(
    fitting: Fitting, epoch: int, counter: keras.callbacks.Callback
) -> tuple[HistoryRow, Quality]:
    """Fit one epoch. Returns its row of the history and its quality."""
    began = time.monotonic()
    batches, steps = feed(fitting.batches(epoch))
    result = fitting.model.fit(
        batches,
        steps_per_epoch=steps,
        initial_epoch=epoch,
        epochs=epoch + 1,
        shuffle=False,
        verbose=0,
        callbacks=[counter],
    ).history
    quality = validate(fitting)
    scored = fitting.validation[1]
    names = [name for name in result if name.endswith("accuracy")]
    own = [name for name in names if name.removesuffix("_accuracy") in scored] or names
    row = HistoryRow(
        phase=fitting.phase,
        epoch=epoch + 1,
        loss=float(result["loss"][0]),
        accuracy=float(np.mean([result[name][0] for name in own])),
        val_loss=quality.loss,
        val_accuracy=quality.accuracy,
        val_macro_f1=quality.macro_f1,
        learning_rate=float(tf.convert_to_tensor(fitting.model.optimizer.learning_rate)),
        seconds=round(time.monotonic() - began, 3),
    )
    worth_a_line = row.seconds >= QUIET_SECONDS or row.epoch == fitting.epochs
    logger.log(
        logging.INFO if worth_a_line else logging.DEBUG,
        "%s %d/%d: %s",
        row.phase,
        row.epoch,
        fitting.epochs,
        _figures(row, quality),
    )
    return row, quality


def _figures(row: HistoryRow, quality: Quality) -> str:
    """Return the figures of an epoch for people; without a validation part only those there are."""
    validated = (
        f", validation loss {row.val_loss:.4f}, macro F1 {row.val_macro_f1:.4f}"
        if quality.n
        else ""
    )
    return f"loss {row.loss:.4f}{validated} ({row.seconds:.1f} s)"


def validate(fitting: Fitting) -> Quality:
    """Return the mean quality of the heads on the validation part, without label smoothing."""
    inputs, truths = fitting.validation
    if not all(len(truth) for truth in truths.values()):
        return Quality(macro_f1=0.0, loss=0.0, accuracy=0.0, n=0)
    logits = predicted(fitting.model, inputs)
    found = [quality_of(logits[head].astype(np.float64), truth) for head, truth in truths.items()]
    return Quality(
        macro_f1=float(np.mean([quality.macro_f1 for quality in found])),
        loss=float(np.mean([quality.loss for quality in found])),
        accuracy=float(np.mean([quality.accuracy for quality in found])),
        n=found[0].n,
    )


def training_quality(fitting: Fitting) -> tuple[float, float]:
    """Return the loss and accuracy on the training copies, as an epoch reports them."""
    compile_for(fitting)
    batches, steps = feed(fitting.batches(0))
    found = fitting.model.evaluate(batches, steps=steps, verbose=0, return_dict=True)
    accuracies = [value for name, value in found.items() if name.endswith("accuracy")]
    return float(found["loss"]), float(np.mean(accuracies))


def compile_for(fitting: Fitting, steps: int = 1) -> keras.optimizers.Optimizer:
    """Compile the model for its phase of `steps` batches an epoch and return the optimizer."""
    optimizer = make_optimizer(
        fitting.settings, epochs=fitting.epochs, steps=steps, warm_up=fitting.warm_up
    )
    heads = list(fitting.loss_weights)
    fitting.model.compile(
        optimizer,
        {head: keras.losses.CategoricalCrossentropy(from_logits=True) for head in heads},
        metrics={head: [keras.metrics.CategoricalAccuracy(name="accuracy")] for head in heads},
        loss_weights=dict(fitting.loss_weights),
        jit_compile=fitting.xla,
    )
    return optimizer


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


class _Counter(keras.callbacks.Callback):  # type: ignore[misc]
    """Advance the progress by each batch."""

    def __init__(self, advance: Advance) -> None:
        super().__init__()
        self._advance = advance

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self._advance()
