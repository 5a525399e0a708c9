"""The lock of a deployment: it names its process and boot, and it ends by itself.

A deployment that hangs must not keep away the one that would mend it. So a lock counts only while
its process lives, in the boot in which it was taken, and until its deadline. A process that holds
it beyond that is ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

from ..errors import DeployError
from ..files import lock_open_file
from ..machine import boot_id, boot_seconds, process_start
from .state import Reason
from .store import Store, read_object

LOCK = "lock.json"
_END = 5.0  # seconds for a process that is told to end


@dataclasses.dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a lock.

    Attributes:
        pid: Its number.
        started: Its start, in ticks since the boot.
        boot: The boot.
        deadline: Seconds since the boot until which the lock counts.
    """

    pid: int
    started: int | None
    boot: str
    deadline: float = math.inf

    @classmethod
    def this_process(cls, seconds: float = math.inf) -> Holder:
        """Return this process as the holder for so many seconds."""
        pid, now = os.getpid(), boot_seconds()
        return cls(pid=pid, started=process_start(pid), boot=boot_id(), deadline=now + seconds)

    def lives(self) -> bool:
        """Return True if the process of this boot still runs."""
        return self.boot == boot_id() and process_start(self.pid) == self.started


@contextlib.contextmanager
def held_alone(store: Store, seconds: float) -> Iterator[None]:
    """Hold the lock for at most so many seconds. Raises DeployError if another has it."""
    me = Holder.this_process(seconds)
    with _guard(store):
        found = read_holder(read_object(store.folder / LOCK))
        if found is not None and found.lives() and found.pid != me.pid:
            left = found.deadline - boot_seconds()
            if left > 0:
                raise DeployError(
                    f"{store.folder}: another deployment is at work (process {found.pid}); it ends "
                    f"within {left:.0f} s",
                    Reason.BUSY,
                )
            _end(found)
        store.write(LOCK, json.dumps(dataclasses.asdict(me)) + "\n")
    try:
        yield
    finally:
        with contextlib.suppress(OSError), _guard(store):
            if read_holder(read_object(store.folder / LOCK)) == me:
                (store.folder / LOCK).unlink()


def read_holder(found: Any) -> Holder | None:
    """Return the process in an object of JSON, None if it names none."""
    try:
        holder = Holder(**found)
    except TypeError:
        return None
    numbers = (holder.pid, holder.deadline)
    fits = all(isinstance(one, int | float) for one in numbers) and holder.pid > 1
    return holder if fits else None


def _end(holder: Holder) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(OSError):
            os.kill(holder.pid, number)
        until = time.monotonic() + _END
        while holder.lives() and time.monotonic() < until:
            time.sleep(0.05)


@contextlib.contextmanager
def _guard(store: Store) -> Iterator[None]:
    path = store.folder / ".lock.lock"
    with path.open("a") as stream:
        store.own(path)  # the camera that teaches takes it too
        lock_open_file(stream.fileno(), wait=True)
        yield
