"""The state of the loop for a supervisor: words to systemd, and a small file.

The watchdog of systemd is fed by frames that were classified, and by nothing else. A camera that
hangs without an error, or that is away for longer than the watchdog waits, is started again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import LmedgeError
from ..harmless import harmless, json_text
from ..machine import boot_id, boot_seconds, processor_celsius, resident_bytes
from ..rejection import UNKNOWN
from ..systemd import notify, watchdog_seconds
from .choice import Choice
from .frames import Absence
from .sinks import FrameResult

PERIOD = 2.0  # seconds between two writes of the file, and two words on the state


class SupervisedState:
    """A sink that tells a supervisor that frames are classified, and what was last seen.

    It fails never: a full disk or a manager that hangs costs the news, not the classification.
    """

    def __init__(
        self,
        path: Path | None,
        file: Path | Choice,
        *,
        clock: Callable[[], float] = boot_seconds,
    ) -> None:
        """Take the path of the status file, if one is wanted, and the file, which may change."""
        self._path = path
        self._choice = file if isinstance(file, Choice) else None
        self._file = file.current.model.path if isinstance(file, Choice) else file
        self._clock = clock
        self._watchdog = watchdog_seconds()
        self._fed = self._written = float("-inf")
        self._frames = self._unknown = self._absences = 0
        self._first = self._last = 0.0
        self._away: str | None = None
        self._shown: FrameResult | None = None
        self._errors = _LastError()
        logging.getLogger("lmedge").addHandler(self._errors)

    def take(self, result: FrameResult) -> bool:
        """Count a frame, feed the watchdog and write the state if it is time."""
        now = self._clock()
        self._see_file()
        if not self._frames:
            self._first = now
            notify("READY=1")  # a second time it changes nothing
        self._frames += 1
        self._unknown += not result.known
        self._last, self._shown, self._away = now, result, None
        if self._watchdog is not None and now - self._fed >= self._watchdog / 4:
            self._fed = now
            notify("WATCHDOG=1")
        if now - self._written >= PERIOD:
            self._write(now)
        return True

    def absent(self, absence: Absence) -> bool:
        """Note that the camera is away; the watchdog is not fed."""
        now = self._clock()
        self._see_file()
        self._absences += self._away is None
        self._away = harmless(absence.message)
        if now - self._written >= PERIOD:
            self._write(now)
        return True

    def _see_file(self) -> None:
        """Count anew if another file has taken over, and write that at once."""
        if self._choice is None:
            return
        file = self._choice.current.model.path
        if file == self._file:
            return
        self._file = file
        self._frames = self._unknown = self._absences = 0
        self._first = self._last = 0.0
        self._shown = None
        self._written = float("-inf")

    def close(self) -> None:
        """Write the state at the end."""
        logging.getLogger("lmedge").removeHandler(self._errors)
        self._write(self._clock())  # no STOPPING=1: another camera may follow in this service

    def _write(self, now: float) -> None:
        self._written = now
        notify(f"STATUS={self._sentence()}")
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            _replace(self._path, self.as_dict())

    def _sentence(self) -> str:
        if self._away is not None:
            return self._away
        if self._shown is None:
            return "no frame yet"
        label = self._shown.prediction.landmark if self._shown.known else UNKNOWN
        return f"{self._rate():.1f} frames a second, {harmless(label)}"

    def _rate(self) -> float:
        span = self._last - self._first
        return (self._frames - 1) / span if span > 0 else 0.0

    def as_dict(self) -> dict[str, object]:
        """Return the state for JSON; docs/formats.md names its fields."""
        memory, shown = resident_bytes(), self._shown
        return {
            "pid": os.getpid(),
            "boot": boot_id(),
            "time": int(time.time()),
            "file": str(self._file),
            "frames": self._frames,
            "first": round(self._first, 3),
            "last": round(self._last, 3),
            "frames_per_second": round(self._rate(), 3),
            "recent_rate": None if shown is None else shown.frames_per_second,
            "unknown": self._unknown,
            "absences": self._absences,
            "away": self._away,
            "landmark": None if shown is None else shown.prediction.landmark,
            "known": shown is not None and shown.known,
            "celsius": processor_celsius(),
            "memory_mb": None if memory is None else round(memory / 1e6, 1),
            "errors": self._errors.count,
            "last_error": self._errors.text,
        }


@contextlib.contextmanager
def failure_in(path: Path | None, file: Path) -> Iterator[None]:
    """Let the status file have the error with which a camera ends, also before its first frame.

    Args:
        path: The status file, if one is wanted.
        file: The .tflite file, for a camera that has not written the status yet.
    """
    try:
        yield
    except (LmedgeError, OSError) as error:
        if path is not None:
            with contextlib.suppress(OSError):
                _write_failure(path, file, harmless(error))
        notify(f"STATUS={harmless(error)}")
        raise


def _write_failure(path: Path, file: Path, text: str) -> None:
    try:
        found = json.loads(path.read_text("utf-8"))
        if found["pid"] != os.getpid() or found["boot"] != boot_id():
            raise ValueError("of another camera")
    except (OSError, ValueError, KeyError, TypeError):
        state = SupervisedState(None, file)
        state.close()
        found = state.as_dict()
    if found["last_error"] != text:
        found["errors"], found["last_error"] = found["errors"] + 1, text
    _replace(path, found)


def _replace(path: Path, content: dict[str, object]) -> None:
    """Replace the file, not flushed: what a power cut takes is old anyway. Raises OSError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(json_text(content) + "\n", encoding="utf-8")
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


class _LastError(logging.Handler):
    """The number of errors that were logged, and the last one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0
        self.text: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        self.text = harmless(record.getMessage())
