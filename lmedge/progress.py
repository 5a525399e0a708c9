"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator

PLAIN_SECONDS = 10.0

Advance = Callable[[], None]
logger = logging.getLogger(__name__)


@contextlib.contextmanager
def progress(task: str, total: int) -> Iterator[Advance]:
    """Give a function to call after each of `total` steps of `task`.

    On a terminal a rich bar shows the rate and the time left; otherwise a line is logged about
    every ten seconds. Both go to standard error and both keep quiet under `lmedge -q`.
    """
    if not logging.getLogger("lmedge").isEnabledFor(logging.INFO):
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


def _plain(task: str, total: int) -> Advance:
    done, said = 0, time.monotonic()

    def advance() -> None:
        nonlocal done, said
        done += 1
        now = time.monotonic()
        if done < total and now - said >= PLAIN_SECONDS:
            said = now
            logger.info("%s: %d of %d", task, done, total)

    return advance
