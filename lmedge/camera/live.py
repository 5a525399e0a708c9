"""Live sources: a thread that keeps only the newest frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from lmedge.errors import SourceError

from .capture import Capture
from .frames import BgrPicture, Frame, Source

PATIENCE = 10.0  # seconds without a frame until a live source counts as gone
_SLICE = 0.1  # seconds between looks at the stop flag while waiting
_JOIN = 2.0  # seconds a closing source waits for its thread


class LiveSource(Source):
    """A camera or a network stream: the newest frame is given, older ones are dropped and counted.

    A source that delivers nothing for `patience` seconds ends with SourceError; a frame is never
    given twice. `open_capture` is called once, in the caller's thread.
    """

    live = True

    def __init__(
        self,
        name: str,
        open_capture: Callable[[], Capture],
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the capture and start the thread; raises what `open_capture` raises."""
        super().__init__(name)
        self.patience = patience
        self._clock = clock
        self._capture = open_capture()
        self._start = clock()
        self._newest: Frame | None = None
        self._delivered = 0
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._pump, name=f"capture {name}", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the newest frame each time; wait for one where there is none yet."""
        while (frame := self._take()) is not None:
            yield frame

    def close(self) -> None:
        """Stop the thread, which releases the capture; one that hangs is left to the system."""
        super().close()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN)

    def _take(self) -> Frame | None:
        deadline = time.monotonic() + self.patience
        with self._changed:
            while not self.stopped:
                if self._newest is not None:
                    frame, self._newest = self._newest, None
                    return frame
                if self._failure is not None:
                    raise SourceError(f"{self.name} failed: {self._failure}") from self._failure
                if time.monotonic() >= deadline:
                    raise SourceError(self._silence())
                # Short waits: a signal handler sets the flag but cannot wake this thread.
                self._changed.wait(_SLICE)
        return None

    def _silence(self) -> str:
        what = "stopped delivering frames" if self._delivered else "opened but delivers no frames"
        return (
            f"{self.name} {what} (none for {self.patience:g} s); check its cable or network "
            "and start again"
        )

    def _pump(self) -> None:
        try:
            while not self.stopped:
                delivered, picture = self._capture.read()
                if not delivered or picture is None:
                    self._stop.wait(_SLICE / 2)  # a dead capture fails at once: do not spin
                    continue
                self._put(np.asarray(picture, np.uint8), self._clock() - self._start)
        except Exception as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        finally:
            # In this thread: releasing while another one reads is not safe.
            self._capture.release()

    def _put(self, picture: BgrPicture, seconds: float) -> None:
        with self._changed:
            if self._newest is not None:
                self.dropped += 1
            self._newest = Frame(picture, self._delivered, seconds)
            self._delivered += 1
            self._changed.notify_all()
