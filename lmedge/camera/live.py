"""Live sources: a thread keeps only the newest frame, and reopens a lost capture."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from ..errors import CameraLostError, SourceError
from .capture import Capture
from .frames import WHOLE_FRAME, Absence, BgrImage, Frame, FrameSource, FrameView
from .mjpeg import DamagedFrameError

FIRST_FRAME = 10.0  # seconds until a source that opened must have given a frame
PATIENCE = 3.0  # seconds without a frame until a source counts as away, its read may be hanging
BACK_OFF = (0.5, 10.0)  # seconds between attempts to open again: the first, doubled up to the last
_FAILING = 1.0  # seconds of failing reads until the capture is given back and opened again
_SLICE = 0.1  # seconds between looks at the stop flag, or for Ctrl-C, while waiting
_JOIN = 0.5  # seconds a closing source waits for its thread

_log = logging.getLogger(__name__)


_T = TypeVar("_T")


class ReplayedError(Exception):
    """A stream that ended would begin again with the same bytes."""


class AbandonedError(Exception):
    """Nobody waits for the result any more."""


def interruptible(
    work: Callable[[], _T],
    release: Callable[[_T], object],
    stopped: Callable[[], bool] = lambda: False,
) -> _T:
    """Do `work` in a thread, so that Ctrl-C ends this one although a library waits for a server.

    If that happens, or if `stopped` returns True, `release` gets the result when it comes. Raises
    AbandonedError in the latter case, and errors of `work` otherwise.
    """
    done, left = threading.Event(), threading.Event()
    results: list[_T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # raised below, in the thread that waits
            errors.append(error)
        done.set()
        if left.is_set() and results:
            release(results[0])

    threading.Thread(target=run, name="interruptible", daemon=True).start()
    try:
        while not done.wait(_SLICE):
            if stopped():
                raise AbandonedError
    except BaseException:
        left.set()
        raise
    if errors:
        raise errors[0]
    return results[0]


class LiveSource(FrameSource):
    """A camera or a network stream: only the newest frame is kept, older ones are counted.

    No frame comes twice. A source that goes away is opened again, with growing pauses, and may come
    back at another resolution. Meanwhile an Absence comes in place of frames. A stream that ends
    and would begin again with the same bytes is a file, and its end is the end of the source.
    """

    live = True

    def __init__(
        self,
        name: str,
        open_capture: Callable[[], Capture],
        *,
        view: FrameView = WHOLE_FRAME,
        give_up: float | None = None,
        patience: float = PATIENCE,
        first_frame: float = FIRST_FRAME,
        back_off: tuple[float, float] = BACK_OFF,
    ) -> None:
        """Open the capture and start the thread.

        Args:
            name: Name of the source, as messages show it.
            open_capture: Function that opens the capture. It is called in the caller's thread
                first, then in the capture thread; its errors at the first call are raised.
            view: Rotation, mirroring and region of every frame.
            give_up: Seconds without a frame after which CameraLostError is raised; None waits for
                ever.
            patience: Seconds without a frame after which the source counts as away.
            first_frame: Seconds within which the first frame must come, otherwise SourceError is
                raised.
            back_off: Seconds between attempts to open again: the first pause, doubled up to the
                second.
        """
        super().__init__(name, view)
        self._open = open_capture
        self._give_up, self._patience, self._first_frame = give_up, patience, first_frame
        self._back_off = back_off
        capture = interruptible(open_capture, lambda late: late.release())
        self._start = self._latest = time.monotonic()
        self._newest: tuple[BgrImage, int, float] | None = None  # with index and seconds
        self._delivered = 0
        self._reason: str | None = None  # why the capture was given back
        self._damage: str | None = None  # why frames that came were left out
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(
            target=self._pump, args=(capture,), name=f"capture {name}", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[Frame | Absence]:
        """Yield the newest frame each time; wait if there is none yet."""
        away = False
        while not self.stopped:
            ended = self._ended
            frame = self._take()
            if frame is not None:
                if away:
                    _log.warning("%s is back", self.name)
                away = False
                image, index, seconds = frame
                yield Frame(image=self.view.apply(image), index=index, seconds=seconds)
                continue
            if ended:
                return
            absence = self._absence()
            if absence is None:
                continue
            if not away:
                away = True
                self.absences += 1
                why = self._why()
                _log.warning("%s gives no frames%s; trying again", self.name, why)
            yield absence

    def close(self) -> None:
        """Stop the thread, which releases the capture; leave a hanging one to the system."""
        super().close()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN)

    def _take(self) -> tuple[BgrImage, int, float] | None:
        """Take the newest frame; wait a slice only, as no signal handler wakes this thread."""
        with self._changed:
            if self._newest is None:
                self._changed.wait(_SLICE)
            frame, self._newest = self._newest, None
            return frame

    def _absence(self) -> Absence | None:
        """Return a notice if the source is away; raise an error if it stays away too long."""
        with self._changed:
            silent = time.monotonic() - self._latest
            gone = self._reason is not None
            if self._newest is not None:
                return None
        why = self._why()
        if not self._delivered and silent >= self._first_frame:
            raise SourceError(
                f"{self.name} opened but delivers no frames (none for {silent:.0f} s){why}; try "
                "another one of `lmedge camera --list`"
            )
        if self._give_up is not None and self._delivered and silent >= self._give_up:
            raise CameraLostError(
                f"{self.name} gave no frames for {silent:.0f} s{why}; check its cable or network "
                "and start again"
            )
        if self._delivered and (gone or silent >= self._patience):
            return Absence(message=f"{self.name}: no frames for {silent:.0f} s, trying again")
        return None

    def _why(self) -> str:
        reason = self._reason or self._damage
        return f" ({reason})" if reason else ""

    def _pump(self, capture: Capture | None) -> None:
        pause = self._back_off[0]
        while not self.stopped and not self._ended:
            if capture is None:
                self._stop.wait(pause)
                pause = min(2 * pause, self._back_off[1])
                capture = self._reopen()
                continue
            before = self._delivered
            try:
                reason = self._deliver(capture)
            except Exception as error:  # whatever a driver raises: the camera is opened again
                reason = str(error) or type(error).__name__
            # In this thread: releasing while another one reads is not safe.
            capture.release()
            capture = None
            if self._delivered > before:
                pause = self._back_off[0]
            self._note(reason)
        if capture is not None:
            capture.release()

    def _reopen(self) -> Capture | None:
        if self.stopped:
            return None
        try:
            return self._open()
        except ReplayedError:
            self._ended = True
            return None
        except Exception as error:
            self._note(str(error) or type(error).__name__)
            return None

    def _deliver(self, capture: Capture) -> str:
        """Put frames until reads fail for a second, and return the reason."""
        good = time.monotonic()
        while not self.stopped:
            try:
                delivered, image = capture.read()
            except DamagedFrameError as error:  # the camera is there
                good, self._damage = time.monotonic(), str(error)
                self.count_damaged()
                continue
            if delivered and image is not None:
                good = time.monotonic()
                self._put(np.asarray(image, np.uint8), good)
            elif time.monotonic() - good >= _FAILING:
                break
            else:
                self._stop.wait(_SLICE / 2)  # a dead capture fails at once: do not spin
        return "reading it fails"

    def _note(self, reason: str) -> None:
        with self._changed:
            self._reason = reason
            self._changed.notify_all()

    def _put(self, image: BgrImage, now: float) -> None:
        with self._changed:
            if self._newest is not None:
                self.dropped += 1
            self._newest = (image, self._delivered, now - self._start)
            self._delivered += 1
            self._latest, self._reason, self._damage = now, None, None
            self._changed.notify_all()
