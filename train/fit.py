"""One phase of fitting: loss, schedule, the best epoch kept, and going on after a kill."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmedge.metrics import macro_f1
from lmedge.progress import Advance, progress

from .backend import keras
from .run import HistoryRow, Run, Weights, get_weights, read_arrays, set_weights, write_arrays

QUIET_SECONDS = 2.0  # epochs on cached features are over before one has read a line
logger = logging.getLogger(__name__)

# An epoch's batches: a keras Sequence of (inputs, one-hot).
Epoch = Callable[[int], keras.utils.Sequence]


@dataclasses.dataclass(frozen=True)
class Fitting:
    """What to fit and how. `model` gives one head's logits; `network` is what is saved.

    `validation` is (inputs, truth) of the validation part, inputs as `model` takes them. `blend` is
    the share of the fitted weights in what is kept; the rest is what fitting started from.
    `warm_up` raises the learning rate over the first epoch.
    """

    phase: str
    model: keras.Model
    network: keras.Model
    batches: Epoch
    validation: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
    epochs: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    blend: float = 1.0
    warm_up: bool = False


@dataclasses.dataclass(frozen=True)
class Quality:
    """How good an epoch is, on the n pictures of the validation part."""

    macro_f1: float
    loss: float
    accuracy: float
    n: int

    def matches(self, best: Quality | None) -> bool:
        """Whether this epoch, a later one, is kept in place of the best so far.

        It is unless its macro F1 is lower by more than two standard errors: a rule of Breiman et
        al. (1984) for choosing by a noisy score. One of thirty validation pictures is worth four
        points; without this an early epoch that was lucky would stand against a whole schedule.
        """
        if best is None:
            return True
        share = (best.macro_f1 * best.n + 1) / (best.n + 2)  # Laplace: never an error of zero
        error = math.sqrt(share * (1 - share) / max(1, best.n))
        return self.macro_f1 >= best.macro_f1 - 2 * error


def fit(run: Run, fitting: Fitting) -> None:
    """Fit and leave the network with the weights of the epoch that is kept, blended.

    Averaging fine-tuned weights with those they started from keeps what was right before and most
    of what was learned (Wortsman et al., arXiv:2109.01903).

    After each epoch a checkpoint is written; a phase that was interrupted goes on behind its last
    one, a phase that ended is restored without fitting.
    """
    steps = len(fitting.batches(0))
    optimizer = _compile(fitting, steps)
    state = _Checkpoint(run, fitting, optimizer)
    start, best = state.restore()
    if start == 0 and fitting.blend < 1:
        write_arrays(_file(run, fitting.phase, "-start"), get_weights(fitting.network))
    if start < fitting.epochs:
        with progress(f"{fitting.phase}", (fitting.epochs - start) * steps) as advance:
            counter = _Counter(advance)
            for epoch in range(start, fitting.epochs):
                best = _epoch(run, fitting, epoch, best, state, counter)
    restore_finished(run, fitting.phase, fitting.network, fitting.epochs, fitting.blend)


def restore_finished(
    run: Run, phase: str, network: keras.Model, epochs: int, blend: float = 1.0
) -> bool:
    """Put the result of a phase into the network; False when the phase has not ended."""
    path = _file(run, phase)
    if not path.exists() or int(read_arrays(path)["epoch"][0]) < epochs:
        return False
    kept = read_arrays(_file(run, phase, "-best"))
    if blend < 1:
        start = read_arrays(_file(run, phase, "-start"))
        share = np.float32(blend)
        # In this form what was frozen stays what it was, to the last bit.
        kept = {name: start[name] + share * (value - start[name]) for name, value in kept.items()}
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
    result = fitting.model.fit(
        fitting.batches(epoch),
        initial_epoch=epoch,
        epochs=epoch + 1,
        shuffle=False,
        verbose=0,
        callbacks=[counter],
    ).history
    quality = validate(fitting)
    row = HistoryRow(
        phase=fitting.phase,
        epoch=epoch + 1,
        loss=float(result["loss"][0]),
        accuracy=float(result["accuracy"][0]),
        val_loss=quality.loss,
        val_accuracy=quality.accuracy,
        val_macro_f1=quality.macro_f1,
        learning_rate=float(fitting.model.optimizer.learning_rate),
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
    highest = quality if best is None or quality.macro_f1 >= best.macro_f1 else best
    state.save(epoch + 1, row, highest, keep=quality.matches(best))
    return highest


def validate(fitting: Fitting) -> Quality:
    """Score the head on the validation part, without label smoothing."""
    inputs, truth = fitting.validation
    if not len(truth):
        return Quality(0.0, 0.0, 0.0, 0)
    logits = fitting.model.predict(inputs, batch_size=64, verbose=0).astype(np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    guess = logits.argmax(axis=1)
    return Quality(
        macro_f1=macro_f1(truth, guess, logits.shape[1]),
        loss=float(-log_p[np.arange(len(truth)), truth].mean()),
        accuracy=float((guess == truth).mean()),
        n=len(truth),
    )


def _compile(fitting: Fitting, steps: int) -> keras.optimizers.Optimizer:
    rate, total = fitting.learning_rate, max(1, steps * fitting.epochs)
    if fitting.warm_up:
        # The first steps of Adam move every weight by the whole rate, whatever the gradient:
        # without a warm-up they destroy pretrained features before there is anything to learn.
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, max(1, total - steps), warmup_target=rate, warmup_steps=steps
        )
    else:
        schedule = keras.optimizers.schedules.CosineDecay(rate, total)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=fitting.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    fitting.model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=fitting.label_smoothing
        ),
        metrics=["accuracy"],
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

    def __init__(self, run: Run, fitting: Fitting, optimizer: keras.optimizers.Optimizer) -> None:
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
        for number, variable in enumerate(self._optimizer.variables):
            arrays[f"optimizer/{number}"] = np.asarray(variable)
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
