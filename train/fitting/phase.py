"""One phase of fitting: loss, schedule, the best epoch kept, and going on after a kill."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lmedge.errors import DeviceError, DivergedError
from lmedge.progress import progress

from ..arrays import write_arrays
from ..backend import keras, tf
from ..cluster.sharing import ImageShares
from ..cluster.team import note
from ..history import HistoryRow
from ..network import get_weights
from ..recipes.sections import FitSettings
from ..reports.tensorboard import epoch_log
from ..run import Run
from .checkpoint import Checkpoint, phase_file, restore_finished, start_weights
from .divergence import ExplosionWatch, LossWatch, check_finite, naming
from .optimizer import make_optimizer
from .replicas import SeenAccuracy, feed, predicted_by_all, replicas
from .shares import choose_share
from .validation import Quality, mean_quality, quality_of

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
        sharing: the shares of the validation part if each of several workers has its own inputs.
        epochs: the number of epochs.
        settings: optimizer, schedule and the rule of the epoch that is kept.
        loss_weights: by head. A head without truth is held, not scored.
        blend: the share of the fitted weights in what is kept. The rest is what fitting started
            from; 1 for no rest.
        spread: the standard deviation by which the validation part may move `blend`.
        choose: if false, the caller writes the share, and the phase ends without it.
        judged: if true, the heads were fitted before. Epochs that the validation part shows to be
            worse than the weights at the start are not kept.
        section: the section of the recipe that `settings` are.
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
    judged: bool = False
    section: str = "fine_tune"
    warm_up: bool = False
    xla: bool = False
    sharing: ImageShares | None = None

    @property
    def blends(self) -> bool:
        """True if a share of the fitted weights is kept, which `choose` or the caller writes."""
        return self.blend < 1 or not self.choose

    @property
    def advice(self) -> str:
        """Return what to try against divergence."""
        key = f"{self.section}.learning_rate"
        return f"try a lower {key} than {self.settings.learning_rate:g}"

    @property
    def guessing(self) -> float:
        """The loss of an equal probability for every class."""
        return sum(
            weight * math.log(self.model.output[head].shape[-1])
            for head, weight in self.loss_weights.items()
        )


def fit(run: Run, fitting: Fitting) -> None:
    """Fit and leave the network with the weights of the epoch that is kept, blended.

    A checkpoint is written after each epoch. A phase that was interrupted goes on after its last
    one; a phase that ended is restored without fitting.

    Raises:
        DivergedError: if a loss, weight or logit is not finite. The phase has ended then, with the
            last good weights.
    """
    steps = len(fitting.batches(0))
    optimizer = compile_for(fitting, steps)
    state = Checkpoint(run, fitting.phase, fitting.network, optimizer)
    start, best = state.restore(fitting.model.trainable_variables)
    if start:
        logger.info("%s: %d of %d epochs were done", fitting.phase, start, fitting.epochs)
    if fitting.blends:
        start_weights(run, fitting.phase, fitting.network)
    if not start:
        best = _begin(run, fitting)
    if start < fitting.epochs:
        if replicas() == 1:
            _create_variables(fitting.model, optimizer)
        action = f"{fitting.advice}, or --resume with the weights from before"
        with naming(run, fitting.phase, action):
            try:
                _fit_epochs(run, fitting, state, range(start, fitting.epochs), steps, best)
            except DivergedError:
                state.end(fitting.epochs)
                raise
            except tf.errors.ResourceExhaustedError:
                raise DeviceError(
                    f"{run.folder}: {fitting.phase}: the memory of the device does not hold a "
                    f"batch of {fitting.settings.batch}; train anew with a lower "
                    f"{fitting.section}.batch"
                ) from None
    if fitting.blend < 1 and fitting.choose:
        choose_fitted_share(run, fitting)
    restore_finished(run, fitting.phase, fitting.network, fitting.epochs, fitting.blends)


def _begin(run: Run, fitting: Fitting) -> Quality | None:
    """Keep the weights at the start of a phase, and return their quality if they are judged."""
    weights = get_weights(fitting.network)
    write_arrays(phase_file(run, fitting.phase, "-best"), weights)
    if not fitting.judged or fitting.settings.keep == "last":
        return None
    quality = validate(fitting)
    return quality if quality.n else None


def _fit_epochs(
    run: Run,
    fitting: Fitting,
    state: Checkpoint,
    epochs: range,
    steps: int,
    best: Quality | None,
) -> None:
    """Fit epochs of `steps` batches; `best` is the best quality so far."""
    explosion = ExplosionWatch(fitting.phase, fitting.advice, fitting.guessing)
    keep, kept_any = fitting.settings.keep, False
    with (
        progress(f"{fitting.phase}", len(epochs) * steps) as advance,
        epoch_log(run.folder, fitting.phase) as log,
    ):
        watch = LossWatch(fitting.phase, advance)
        for epoch in epochs:
            row, quality = _epoch(fitting, epoch, watch)
            explosion.look(row.epoch, {"loss": row.loss, "validation loss": row.val_loss})
            kept, best = quality.matches(best, keep), quality.best(best, keep)
            kept_any = kept_any or kept
            state.save(row, best, keep=kept)
            log(row)
    if fitting.judged and not kept_any and not epochs.start:
        logger.warning(
            "%s: every epoch was worse than the weights at its start, which are kept; %s",
            fitting.phase,
            fitting.advice,
        )


def choose_fitted_share(run: Run, fitting: Fitting) -> None:
    """Write the share of the fitted weights that is kept, by the validation part."""
    inputs, truths = fitting.validation
    choose_share(
        run,
        fitting.phase,
        share=fitting.blend,
        spread=fitting.spread,
        network=fitting.network,
        predict=lambda: predicted_by_all(fitting.model, inputs, fitting.sharing),
        truths=truths,
    )


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
    with epoch_log(run.folder, fitting.phase) as log:
        log(row)


def _epoch(
    fitting: Fitting, epoch: int, watch: keras.callbacks.Callback
) -> tuple[HistoryRow, Quality]:
    """Fit one epoch. Returns its row of the history and its quality."""
    began = time.monotonic()
    with feed(fitting.batches(epoch)) as (batches, steps):
        result = fitting.model.fit(
            batches,
            steps_per_epoch=steps,
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            verbose=0,
            callbacks=[watch],
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
    note(f"the validation of {fitting.phase}")
    logits = predicted_by_all(fitting.model, inputs, fitting.sharing)
    check_finite(logits, "the validation logits")
    found = [quality_of(logits[head].astype(np.float64), truth) for head, truth in truths.items()]
    return mean_quality(found)


def _create_variables(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Create the variables of a compiled model that Keras would create in its first step.

    TensorFlow traces a step a second time if the first time created variables. The values are those
    that Keras gives them; it resets metrics before an epoch.
    """
    optimizer.build(model.trainable_variables)
    rows = {head: tf.zeros((1, logits.shape[-1])) for head, logits in model.output.items()}

    def step() -> None:
        model.compute_loss(None, rows, rows)
        model.compute_metrics(None, rows, rows, None)

    tf.distribute.get_strategy().run(step)


def training_quality(fitting: Fitting) -> tuple[float, float]:
    """Return the loss and accuracy on the training copies, as an epoch reports them."""
    compile_for(fitting)
    with feed(fitting.batches(0)) as (batches, steps):
        found = fitting.model.evaluate(batches, steps=steps, verbose=0, return_dict=True)
    accuracies = [value for name, value in found.items() if name.endswith("accuracy")]
    return float(found["loss"]), float(np.mean(accuracies))


def compile_for(fitting: Fitting, steps: int = 1) -> keras.optimizers.Optimizer:
    """Compile the model for its phase of `steps` batches an epoch and return the optimizer."""
    optimizer = make_optimizer(
        fitting.settings, epochs=fitting.epochs, steps=steps, warm_up=fitting.warm_up
    )
    heads = list(fitting.loss_weights)
    several = replicas() > 1
    kind = SeenAccuracy if several else keras.metrics.CategoricalAccuracy
    accuracies = {head: [kind(name="accuracy")] for head in heads}
    fitting.model.compile(
        optimizer,
        {head: keras.losses.CategoricalCrossentropy(from_logits=True) for head in heads},
        metrics=None if several else accuracies,
        weighted_metrics=accuracies if several else None,
        loss_weights=dict(fitting.loss_weights),
        jit_compile=fitting.xla,
    )
    return optimizer
