"""Tables of boards: the steps while they run, and what became of each."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.table import Table

from ..harmless import harmless
from ..report.terminal import HarmlessConsole, print_line

if TYPE_CHECKING:
    from .session import BoardResult

_log = logging.getLogger(__name__)


class ProgressTable:
    """The step of every board: a table on a terminal, plain lines otherwise, nothing if quiet."""

    def __init__(self, boards: Sequence[str]) -> None:
        """Take the names of the boards, in the order of the table."""
        self._steps = dict.fromkeys(boards, "waiting")
        self._since = dict.fromkeys(boards, time.monotonic())
        self._alone = threading.Lock()
        self._live: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and _log.isEnabledFor(logging.INFO):
            from rich.live import Live

            self._live = Live(
                get_renderable=self._table,
                console=HarmlessConsole(stderr=True),
                refresh_per_second=2,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def step(self, board: str, name: str) -> None:
        """Show the step of a board; safe in any thread."""
        with self._alone:
            self._steps[board] = name
            self._since[board] = time.monotonic()
        if self._live is None:
            _log.info("%s: %s", board, name)

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, show_header=False)
        with self._alone:
            for board, step in self._steps.items():
                passed = f"{time.monotonic() - self._since[board]:.0f} s"
                table.add_row(harmless(board), harmless(step), passed)
        return table


def show_results(results: Sequence[BoardResult]) -> None:
    """Print one line a board: its name, its end, and the reason if it failed."""
    console = HarmlessConsole()
    names = max(len(result.board) for result in results)
    ends = max(len(result.done.value) for result in results)
    for result in results:
        reason = "" if result.reason is None else f"{result.reason.value}: "
        line = f"{result.board.ljust(names)}  {result.done.value.ljust(ends)}  "
        print_line(console, f"{line}{reason}{result.detail}".rstrip())
    for result in results:
        for warning in result.warnings:
            _log.warning("%s: %s", result.board, warning)
