"""Progress of long work: a bar on a terminal, otherwise plain lines, nothing if quiet."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

TALK = "LMEDGE_RUNTIME_LOG"  # any value lets the libraries write to the terminal
WARNINGS = "py.warnings"  # the logger of warnings that Python's `warnings` would print


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discard what is written to file descriptor 2: some libraries ignore their log levels."""
    if os.environ.get(TALK):
        yield
        return
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    with Path(os.devnull).open("wb") as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


PLAIN_SECONDS = 10.0

Advance = Callable[[], None]
_shown = True
logger = logging.getLogger(__name__)


def show_progress(shown: bool) -> None:
    """Show progress from now on, or do not, as with `lmedge -q`."""
    global _shown  # one command line a process
    _shown = shown


def progress_shown() -> bool:
    """Return true unless the command line is quiet."""
    return _shown and logging.getLogger("lmedge").isEnabledFor(logging.INFO)


@contextlib.contextmanager
def progress(task: str, total: int | None) -> Iterator[Advance]:
    """Give a function to call after each of `total` steps of `task`; None for an unknown number.

    On a terminal a rich bar shows the count and the time left. Otherwise a line is logged every
    PLAIN_SECONDS. Both go to standard error, and `lmedge -q` silences both.
    """
    if not progress_shown():
        yield lambda: None
        return
    if not sys.stderr.isatty():
        yield _plain(task, total)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        number = bar.add_task(task, total=total)
        yield lambda: bar.advance(number)


def _plain(task: str, total: int | None) -> Advance:
    done, logged = 0, time.monotonic()

    def advance() -> None:
        nonlocal done, logged
        done += 1
        now = time.monotonic()
        if done != total and now - logged >= PLAIN_SECONDS:
            logged = now
            of_all = "so far" if total is None else f"of {total}"
            logger.info("%s: %d %s", task, done, of_all)

    return advance
