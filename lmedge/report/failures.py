"""Pages and plots that fail do not take with them what was measured or trained for hours."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def logging_failure(path: Path) -> Iterator[Path]:
    """Give the path of a report; log any error of the block as a warning that names it."""
    try:
        yield path
    except Exception as error:
        logger.warning("%s was not written: %s", path, " ".join(str(error).split()) or repr(error))
