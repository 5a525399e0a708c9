"""How many threads to run beside other processes: on cores that are taken more of them only wait.

Two processes with two threads each on two cores classify half of what they do with one thread
each (benchmarks/shared_cores.py): a thread that waits for its sibling keeps a core from working.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from lmedge import machine

SECONDS = 2.0  # between looks at what others do
_DOWN, _UP = 0.5, 0.25  # cores that may lack to keep a thread count, and to go back to it


class Sharing:
    """Threads that the machine has cores for: `most` on an idle one, fewer beside others.

    Where the system does not tell what others do it stays at `most`.
    """

    def __init__(
        self,
        most: int,
        *,
        cores: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        busy: Callable[[], float | None] = machine.busy_seconds,
        own: Callable[[], float] = time.process_time,
    ) -> None:
        """`cores` of the machine; `busy` and `own` are seconds that all and our cores worked."""
        self._most = self._now = most
        self._cores = cores or os.cpu_count() or 1
        self._clock, self._busy, self._own = clock, busy, own
        self._before = (clock(), busy(), own())

    def threads(self) -> int:
        """Return the thread count for the next frame; looks around every two seconds."""
        at, busy, own = self._before
        seconds = self._clock() - at
        if seconds < SECONDS:
            return self._now
        now = (at + seconds, self._busy(), self._own())
        self._before = now
        if busy is not None and now[1] is not None:
            others = max(0.0, (now[1] - busy - (now[2] - own)) / seconds)
            self._now = self._fitting(self._cores - others)
        return self._now

    def _fitting(self, free: float) -> int:
        """Return the highest power of two up to `most` that `free` cores have room for."""
        count = self._most
        while count > 1 and free < count - (_DOWN if count <= self._now else _UP):
            count //= 2
        return count
