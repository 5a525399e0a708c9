"""Scalars of every epoch for TensorBoard: `tensorboard --logdir RUN`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..backend import tf
from ..history import HistoryRow

FOLDER = "tensorboard"
# Names with one word before the slash are charts of one group; a phase is a run of its own.
TAGS = {
    "loss": "loss/training",
    "val_loss": "loss/validation",
    "accuracy": "accuracy/training",
    "val_accuracy": "accuracy/validation",
    "val_macro_f1": "macro_f1/validation",
    "learning_rate": "learning_rate",
}
logger = logging.getLogger(__name__)


@contextlib.contextmanager
def epoch_log(folder: Path, phase: str) -> Iterator[Callable[[HistoryRow], None]]:
    """Give a function that writes an epoch to folder/tensorboard/phase, at step `epoch`.

    The package tensorboard is needed to look at the files, not to write them. A file that cannot
    be written is a warning, once: it must not end a training.
    """
    writer: Any = None

    def write(row: HistoryRow) -> None:
        nonlocal writer
        if writer is None:
            return
        try:
            with writer.as_default():
                tf.summary.experimental.write_raw_pb(_summary(row), step=row.epoch)
            writer.flush()
        except (OSError, tf.errors.OpError) as error:
            writer = None
            _warn(error)

    try:
        writer = tf.summary.create_file_writer(str(folder / FOLDER / phase))
    except (OSError, tf.errors.OpError) as error:
        _warn(error)
    try:
        yield write
    finally:
        if writer is not None:
            with contextlib.suppress(OSError, tf.errors.OpError):
                writer.close()


def _summary(row: HistoryRow) -> bytes:
    """Return the scalars of an epoch as a protocol buffer.

    `tf.summary.scalar` does the same but needs the package tensorboard, which TensorFlow no longer
    brings along.
    """
    kind = tf.compat.v1.Summary
    values = [kind.Value(tag=tag, simple_value=getattr(row, field)) for field, tag in TAGS.items()]
    return bytes(kind(value=values).SerializeToString())


def _warn(error: Exception) -> None:
    logger.warning("no TensorBoard log is written: %s", " ".join(str(error).split()))
