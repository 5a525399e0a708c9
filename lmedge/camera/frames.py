"""Frames with their place in a stream, and the base of all sources of them."""

from __future__ import annotations

import abc
import dataclasses
import logging
import threading
from collections.abc import Iterator
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import LmedgeError

BgrImage = npt.NDArray[np.uint8]

_log = logging.getLogger(__name__)
_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameView:
    """Rotation, mirroring and region of interest of every frame, applied in this order.

    Attributes:
        rotate: Clockwise degrees: 0, 90, 180 or 270.
        mirror: True mirrors left to right.
        roi: (left, top, width, height) as shares of the rotated image, 0 to 1, which hold at every
            resolution of a camera; None keeps the whole image.

    Raises:
        LmedgeError: A value is out of range.
    """

    rotate: int = 0
    mirror: bool = False
    roi: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        """Raise LmedgeError unless the values are in range."""
        if self.rotate not in {0, *_TURNS}:
            raise LmedgeError(f"rotate must be 0, 90, 180 or 270 degrees, not {self.rotate}")
        if self.roi is None:
            return
        left, top, width, height = self.roi
        inside = left >= 0 and top >= 0 and left + width <= 1.001 and top + height <= 1.001
        if not (inside and width > 0 and height > 0):
            raise LmedgeError(
                "roi must be LEFT,TOP,WIDTH,HEIGHT as shares of the image from 0 to 1, inside "
                f"it, not {','.join(f'{value:g}' for value in self.roi)}"
            )

    def apply(self, image: BgrImage) -> BgrImage:
        """Return the (H, W, 3) uint8 image after the view; at least one pixel is kept."""
        if self.rotate:
            image = np.asarray(cv2.rotate(image, _TURNS[self.rotate]), np.uint8)
        if self.mirror:
            image = np.asarray(cv2.flip(image, 1), np.uint8)
        if self.roi is not None:
            height, width = image.shape[:2]
            left, top, wide, high = self.roi
            x, y = min(width - 1, round(left * width)), min(height - 1, round(top * height))
            x_end = max(x + 1, round((left + wide) * width))
            y_end = max(y + 1, round((top + high) * height))
            image = np.ascontiguousarray(image[y:y_end, x:x_end])
        return image


WHOLE_FRAME = FrameView()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """One image of a stream.

    Attributes:
        image: (H, W, 3) uint8 BGR, OpenCV's own order, from every source.
        index: Number of the frame among those the source delivered, from 0.
        seconds: Time in the stream of a file; time since the source was opened if it is live.
        name: Name of the file if the source is images, otherwise None.
    """

    image: BgrImage = dataclasses.field(repr=False)
    index: int
    seconds: float
    name: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Absence:
    """A notice that a live source has no frames at the moment.

    `message` names the source, the time without frames and the next step.
    """

    message: str


class FrameSource(abc.ABC):
    """Frames to iterate over once, and the resource behind them; a context manager.

    Attributes:
        name: Name of the source, as messages show it.
        view: Rotation, mirroring and region of every frame.
        live: True for a camera or stream, of which only the newest frame is kept.
        sequence: True if neighbouring frames show the same scene.
        rate: Frames a second of a file; None for a live source.
        dropped: Frames of a live source that nobody took.
        skipped: Images that cannot be read.
        damaged: Frames that arrived cut or damaged, and that nobody saw.
        absences: How often a live source went away.
    """

    live: bool = False
    sequence: bool = True
    rate: float | None = None
    dropped: int = 0
    skipped: int = 0
    damaged: int = 0
    absences: int = 0

    def __init__(self, name: str, view: FrameView = WHOLE_FRAME) -> None:
        """Set the name that messages show, and the view of every frame."""
        self.name = name
        self.view = view
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def count_damaged(self) -> None:
        """Count a frame that arrived damaged, and log the first."""
        self.damaged += 1
        if self.damaged == 1:
            _log.warning(
                "%s: an image arrived damaged and is left out; more are counted", self.name
            )

    @abc.abstractmethod
    def __iter__(self) -> Iterator[Frame | Absence]:
        """Yield the frames; raise SourceError if the source fails or holds none.

        While a live source is away, an Absence comes several times a second, so that a window
        still handles keys.
        """

    @property
    def stopped(self) -> bool:
        """True after `stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End the iteration soon; safe in a signal handler and from another thread."""
        self._stop.set()

    def close(self) -> None:
        """Release the resource; the iteration ends."""
        self.stop()
