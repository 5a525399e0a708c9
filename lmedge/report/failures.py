"""Pages and plots that fail do not take with them what was measured or trained for hours."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from ..errors import LmedgeError

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def logging_failure(path: Path) -> Iterator[Path]:
    """Give the path of a report; log any error of the block as a warning that names it."""
    try:
        yield path
    except Exception as error:
        _warn(path, "written", error)


@contextlib.contextmanager
def going_on_without(path: Path) -> Iterator[None]:
    """Log an error of a plot as a warning that names it: what it shows took long to compute.

    A file that cannot be written stays an error, since others beside it could not be either.
    """
    try:
        yield
    except LmedgeError:
        raise
    except Exception as error:
        _warn(path, "drawn", error)


def _warn(path: Path, done: str, error: Exception) -> None:
    logger.warning("%s was not %s: %s", path, done, " ".join(str(error).split()) or repr(error))
