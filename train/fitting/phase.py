"""One phase of fitting: loss, schedule, the best epoch kept, and going on after a kill."""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmedge.evaluation.scoring import log_likelihood
from lmedge.progress import Advance, progress

from ..backend import keras, tf
from ..calibration import fit_temperature
from ..recipes.sections import Fit as Settings
from ..reports.tensorboard import epoch_log
from ..run import HistoryRow, Run, Weights, get_weights, read_arrays, set_weights, write_arrays
from .blending import blended, likeliest
from .optimizers import make_optimizer
from .quality import Quality, quality_of
from .replicas import feed, predicted

QUIET_SECONDS = 2.0  # epochs on cached features are over before one has read a line
logger = logging.getLogger(__name__)

# An epoch's batches: a keras Sequence of (inputs, targets by head[, weights by head]).
Epoch = Callable[[int], keras.utils.Sequence]
Inputs = Any  # (N, ...) float32, or a keras Sequence of them


@dataclasses.dataclass(frozen=True)
class Fitting:
    """What to fit and how. `model` gives logits by head; `network` is what is saved.

    `validation` is (inputs, truth by head) of the validation part, inputs as `model` takes them.
    `loss_weights` are by head; a head without truth is held, not scored. `blend` is the share of
    the fitted weights in what is kept, the rest is what fitting started from; 1 for no rest. The
    validation part may move it by about `spread`, see blending.py. `warm_up` raises the learning
    rate over the first epoch; `xla` compiles the step.
    """

    phase: str
    model: keras.Model
    network: keras.Model
    batches: Epoch
    validation: tuple[Inputs, Mapping[str, npt.NDArray[np.int64]]]
    epochs: int
    settings: Settings
    loss_weights: Mapping[str, float]
    blend: float = 1.0
    spread: float = 0.0
    warm_up: bool = False
    xla: bool = False


def fit(run: Run, fitting: Fitting) -> None:
    """Fit and leave the network with the weights of the epoch that is kept, blended.

    After each epoch a checkpoint is written; a phase that was interrupted goes on behind its last
    one, a phase that ended is restored without fitting.
    """
    steps = len(fitting.batches(0))
    optimizer = compile_for(fitting, steps)
    state = _Checkpoint(run, fitting, optimizer)
    start, best = state.restore()
    if fitting.blend < 1:
        start_weights(run, fitting.phase, fitting.network)
    if start < fitting.epochs:
        with (
            progress(f"{fitting.phase}", (fitting.epochs - start) * steps) as advance,
            epoch_log(run.folder, fitting.phase) as log,
        ):
            counter = _Counter(advance)
            for epoch in range(start, fitting.epochs):
                best = _epoch(run, fitting, epoch, best, state, counter)
                log(run.history()[-1])
    if fitting.blend < 1:
        _choose_share(run, fitting)
    restore_finished(run, fitting.phase, fitting.network, fitting.epochs, fitting.blend < 1)


def _choose_share(run: Run, fitting: Fitting) -> None:
    """Write what share of the fitted weights is kept."""
    path, kept_path = _file(run, fitting.phase, "-share"), _file(run, fitting.phase, "-best")
    start, kept = read_arrays(_file(run, fitting.phase, "-start")), read_arrays(kept_path)
    inputs, truths = fitting.validation

    @functools.cache
    def likelihood(share: float) -> float:
        set_weights(fitting.network, blended(start, kept, share), kept_path)
        logits = predicted(fitting.model, inputs)
        return sum(
            log_likelihood(
                logits[head].astype(np.float64) / fit_temperature(logits[head], truth), truth
            )
            for head, truth in truths.items()
        )

    count = min(len(truth) for truth in truths.values())
    share = likeliest(fitting.blend, fitting.spread if count else 0.0, likelihood)
    logger.info("%s: %g of the weights it ends with are kept", fitting.phase, share)
    if share != fitting.blend:
        logger.info(
            "by the validation part, whose log loss is %.4f with %g and %.4f with %g",
            -likelihood(share) / count,
            share,
            -likelihood(fitting.blend) / count,
            fitting.blend,
        )
    write_arrays(path, {"share": np.array([share])})


def start_weights(run: Run, phase: str, network: keras.Model) -> tuple[Weights, Path]:
    """Return the weights a phase began with, and their file; the first call writes it."""
    path = _file(run, phase, "-start")
    if not path.exists():
        write_arrays(path, get_weights(network))
    return read_arrays(path), path


def solved(run: Run, fitting: Fitting, loss: float, accuracy: float, seconds: float) -> None:
    """Record a phase whose weights were computed, not descended to, as one epoch."""
    quality = validate(fitting)
    row = HistoryRow(
        fitting.phase,
        1,
        loss,
        accuracy,
        quality.loss,
        quality.accuracy,
        quality.macro_f1,
        0.0,
        round(seconds, 3),
    )
    logger.info(
        "%s: solved, loss %.4f, validation loss %.4f, macro F1 %.4f (%.1f s)",
        row.phase,
        row.loss,
        row.val_loss,
        row.val_macro_f1,
        row.seconds,
    )
    _Checkpoint(run, fitting, None).save(1, row, quality, keep=True)


def restore_finished(
    run: Run, phase: str, network: keras.Model, epochs: int, blends: bool = False
) -> bool:
    """Put the result of a phase into the network; False when the phase has not ended."""
    path, share = _file(run, phase), _file(run, phase, "-share")
    if not path.exists() or int(read_arrays(path)["epoch"][0]) < epochs:
        return False
    if blends and not share.exists():
        return False
    kept = read_arrays(_file(run, phase, "-best"))
    if blends:
        start = read_arrays(_file(run, phase, "-start"))
        kept = blended(start, kept, float(read_arrays(share)["share"][0]))
    set_weights(network, kept, path)
    return True


def _file(run: Run, phase: str, suffix: str = "") -> Path:
    return checkpoint_folder(run) / f"{phase}{suffix}.safetensors"


def _epoch(
    run: Run,
    fitting: Fitting,
    epoch: int,
    best: Quality | None,
    state: _Checkpoint,
    counter: keras.callbacks.Callback,
) -> Quality | None:
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
        "%s %d/%d: loss %.4f, validation loss %.4f, macro F1 %.4f (%.1f s)",
        row.phase,
        row.epoch,
        fitting.epochs,
        row.loss,
        row.val_loss,
        row.val_macro_f1,
        row.seconds,
    )
    keep = fitting.settings.keep
    state.save(epoch + 1, row, quality.best(best, keep), keep=quality.matches(best, keep))
    return quality.best(best, keep)


def validate(fitting: Fitting) -> Quality:
    """Score the heads on the validation part, without label smoothing; several are averaged."""
    inputs, truths = fitting.validation
    if not all(len(truth) for truth in truths.values()):
        return Quality(0.0, 0.0, 0.0, 0)
    logits = predicted(fitting.model, inputs)
    found = [quality_of(logits[head].astype(np.float64), truth) for head, truth in truths.items()]
    return Quality(
        macro_f1=float(np.mean([quality.macro_f1 for quality in found])),
        loss=float(np.mean([quality.loss for quality in found])),
        accuracy=float(np.mean([quality.accuracy for quality in found])),
        n=found[0].n,
    )


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


class _Counter(keras.callbacks.Callback):  # type: ignore[misc]
    """Tell the progress of each batch."""

    def __init__(self, advance: Advance) -> None:
        super().__init__()
        self._advance = advance

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self._advance()


class _Checkpoint:
    """The state of one phase on disk: weights, optimizer, best weights, history."""

    def __init__(
        self, run: Run, fitting: Fitting, optimizer: keras.optimizers.Optimizer | None
    ) -> None:
        self._run, self._fitting, self._optimizer = run, fitting, optimizer
        self._path = _file(run, fitting.phase)
        self._best_path = _file(run, fitting.phase, "-best")

    def save(self, epoch: int, row: HistoryRow, highest: Quality, *, keep: bool) -> None:
        """Write the kept weights, then the history, then the state that says the epoch is done."""
        if keep:
            write_arrays(self._best_path, get_weights(self._fitting.network))
        rows = [old for old in self._run.history() if not self._later(old, epoch)]
        self._run.write_history([*rows, row])
        quality = dataclasses.astuple(highest)
        arrays: Weights = {f"network/{k}": v for k, v in get_weights(self._fitting.network).items()}
        for number, variable in enumerate(self._optimizer.variables if self._optimizer else ()):
            arrays[f"optimizer/{number}"] = np.asarray(tf.convert_to_tensor(variable))
        arrays["epoch"], arrays["best"] = np.array([epoch]), np.array(quality, np.float64)
        write_arrays(self._path, arrays)

    def _later(self, row: HistoryRow, epoch: int) -> bool:
        return row.phase == self._fitting.phase and row.epoch >= epoch

    def restore(self) -> tuple[int, Quality | None]:
        """Return the epochs done and the best so far; (0, None) where there is no checkpoint."""
        if not self._path.exists():
            return 0, None
        arrays = read_arrays(self._path)
        set_weights(self._fitting.network, _below(arrays, "network/"), self._path)
        assert self._optimizer is not None  # what was solved has ended with its one epoch
        self._optimizer.build(self._fitting.model.trainable_variables)
        saved = _below(arrays, "optimizer/")
        for number, variable in enumerate(self._optimizer.variables):
            variable.assign(saved[str(number)])
        epoch = int(arrays["epoch"][0])
        logger.info(
            "%s: %d of %d epochs were done", self._fitting.phase, epoch, self._fitting.epochs
        )
        f1, loss, accuracy, count = (float(value) for value in arrays["best"])
        return epoch, Quality(f1, loss, accuracy, int(count))


def _below(arrays: Weights, prefix: str) -> Weights:
    return {key.removeprefix(prefix): v for key, v in arrays.items() if key.startswith(prefix)}


def checkpoint_folder(run: Run) -> Path:
    """Return where the phases keep their state while training goes on."""
    return run.folder / "checkpoints"
