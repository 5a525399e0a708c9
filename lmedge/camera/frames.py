"""What a source gives: frames, one after the other, each with its place in the stream."""

from __future__ import annotations

import abc
import dataclasses
import threading
from collections.abc import Iterator

from lmedge.closing import Closing

from .view import WHOLE, BgrPicture, View

__all__ = ["Absence", "BgrPicture", "Frame", "Source"]


@dataclasses.dataclass(frozen=True)
class Frame:
    """One picture of a stream.

    `picture` is (H, W, 3) uint8 BGR, OpenCV's own order, whatever the source. `index` counts the
    frames the source delivered, from 0. `seconds` is the time in the stream for files, and since
    the source was opened for live ones. `name` is the file's, for pictures.
    """

    picture: BgrPicture = dataclasses.field(repr=False)
    index: int
    seconds: float
    name: str | None = None


@dataclasses.dataclass(frozen=True)
class Absence:
    """A live source gives no frames at the moment; `message` says since when and what is done."""

    message: str


class Source(Closing):
    """Frames to iterate over once, and the resource behind them; a context manager.

    `rate` is the frames a second of a file, None for live sources. `sequence` says whether
    neighbouring frames show the same scene. `dropped` counts frames a live source delivered that
    nobody took, `skipped` the pictures that cannot be read, `absences` how often a live source
    went away.
    """

    live: bool = False
    sequence: bool = True
    rate: float | None = None
    dropped: int = 0
    skipped: int = 0
    absences: int = 0

    def __init__(self, name: str, view: View = WHOLE) -> None:
        """Name the source as messages show it; `view` is applied to every frame."""
        self.name = name
        self.view = view
        self._stop = threading.Event()

    @abc.abstractmethod
    def __iter__(self) -> Iterator[Frame | Absence]:
        """Yield the frames; raise SourceError when the source fails or holds none.

        While a live source is away an Absence comes several times a second, so that a window goes
        on answering.
        """

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End the iteration soon; safe in a signal handler and from another thread."""
        self._stop.set()

    def close(self) -> None:
        """Release the resource; the iteration ends."""
        self.stop()
