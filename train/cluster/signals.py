"""Ctrl-C and SIGTERM while the main thread may be in a call of TensorFlow that nothing ends."""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType
from typing import Self

ENDING = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """The signals that end a worker, for the thread that watches.

    Python runs a handler only between two steps of the main thread, but it writes the number of
    each signal into a pipe at once. TensorFlow's start puts a handler of its own in the place of
    that of SIGTERM; `install` undoes that.
    """

    def __enter__(self) -> Self:
        """Begin to look for signals. To be called in the main thread."""
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._before = signal.getsignal(signal.SIGTERM)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        """Undo what the beginning did."""
        signal.set_wakeup_fd(self._wakeup)
        signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)
        os.close(self._read)
        os.close(self._write)

    def install(self) -> None:
        """Let SIGTERM end the main thread. To be called in the main thread."""
        signal.signal(signal.SIGTERM, _end)

    def came(self) -> signal.Signals | None:
        """Return a signal that ends this worker and has come since the last call, if any."""
        with contextlib.suppress(OSError):  # nothing came, or this has ended
            for number in os.read(self._read, 16):
                if number in ENDING:
                    return signal.Signals(number)
        return None


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)
