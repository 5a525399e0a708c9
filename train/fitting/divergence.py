"""Divergence: a value that is not finite ends its phase, and a loss that explodes is reported."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lmedge.errors import DivergedError
from lmedge.progress import Advance

from ..arrays import Floats, first_not_finite
from ..backend import keras
from ..cluster.team import note
from ..run import Run

EXPLODED = 3.0  # times the loss of guessing; early epochs of sound trainings stay below
logger = logging.getLogger(__name__)


class LossWatch(keras.callbacks.Callback):  # type: ignore[misc]
    """Advance the progress by each batch, and end the phase at a loss that is not finite.

    A gradient that is not finite makes the weights so, and with them the loss of the next step.
    """

    def __init__(self, phase: str, advance: Advance) -> None:
        super().__init__()
        self._phase, self._advance, self._epoch = phase, advance, 0

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        """Count the epochs from 1."""
        self._epoch = epoch + 1

    def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
        """Keep the step for the other workers."""
        note(f"step {batch + 1} of epoch {self._epoch} of {self._phase}")

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Advance; raise DivergedError for a loss that is not finite."""
        self._advance()
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            raise DivergedError(
                f"the loss is not finite at step {batch + 1} of epoch {self._epoch}"
            )


class ExplosionWatch:
    """Report, once a phase, that a loss is far above that of guessing."""

    def __init__(self, phase: str, advice: str, guessing: float) -> None:
        self._phase, self._advice, self._guessing = phase, advice, guessing
        self._reported = False

    def look(self, epoch: int, losses: Mapping[str, float]) -> None:
        """Compare the losses of an epoch, by name, with that of guessing."""
        for name, loss in losses.items():
            if not self._reported and loss > EXPLODED * self._guessing > 0:
                self._reported = True
                logger.warning(
                    "%s: the %s of epoch %d is %.4g, and guessing has %.4g; %s",
                    self._phase,
                    name,
                    epoch,
                    loss,
                    self._guessing,
                    self._advice,
                )


def check_finite(values: Mapping[str, npt.NDArray[Any]], what: str) -> None:
    """Raise DivergedError, with `what` and the name, for an array that is not finite."""
    if (name := first_not_finite(values)) is not None:
        raise DivergedError(f"{what} of {name} are not finite")


def finite_blocks(blocks: Iterable[Floats]) -> Iterator[Floats]:
    """Yield blocks of features; raise DivergedError for one that is not finite."""
    for block in blocks:
        if not np.isfinite(block).all():
            raise DivergedError("the features of the backbone are not finite")
        yield block


@contextlib.contextmanager
def naming(run: Run, phase: str, action: str) -> Iterator[None]:
    """Put the run folder, the phase and what to do into a DivergedError of the block."""
    try:
        yield
    except DivergedError as error:
        raise DivergedError(f"{run.folder}: {phase}: {error}; {action}") from error
