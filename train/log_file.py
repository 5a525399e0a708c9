"""The log of a training in its run folder."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from lmedge.files import disk_problem, writing
from lmedge.harmless import HarmlessFormatter
from lmedge.progress import WARNINGS

logger = logging.getLogger(__name__)


class _LogFile(logging.FileHandler):
    """A log file whose disk may be full: it ends with one line, and the training goes on."""

    failed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless one before failed."""
        if not self.failed:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the library's name)
        """Report the error; after it nothing is written."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self.failed = True
        reason = disk_problem(error)
        logger.warning("cannot write %s: %s; going on without the log", self.baseFilename, reason)

    def close(self) -> None:
        """Close the file; what cannot be written was reported."""
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Append everything lmedge logs to `path`."""
    with writing(path):
        handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(HarmlessFormatter("%(asctime)s %(message)s"))
    sources = [logging.getLogger(name) for name in ("lmedge", WARNINGS)]
    for source in sources:
        source.addHandler(handler)
    try:
        logger.debug("process %d", os.getpid())
        yield
    finally:
        for source in sources:
            source.removeHandler(handler)
        handler.close()
