"""The annotated video: written beside its name, renamed when it is whole and plays."""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
from pathlib import Path

import cv2
import numpy as np

from lmedge.errors import LmedgeError
from lmedge.files import replacing

from .frames import BgrPicture
from .sinks import Result

LIVE_RATE = 15.0  # frames a second of a live recording too short to measure
MAX_RATE = 120.0
# Live frames held back to measure their rate: a video file needs it before its first frame.
_MEASURED = 8
_LONGEST = 3840  # pixels; panoramas are recorded smaller, the codec ends at 8191


class Recorder:
    """Record annotated frames to an mp4 (MPEG-4 part 2).

    The frame rate is the source's, or measured over the first frames of a live one. The first
    frame gives the size; a frame of another shape is fitted in with black bars. What was recorded
    is kept whatever ends the loop; without any frame there is no file.
    """

    def __init__(self, path: str | os.PathLike[str], rate: float | None) -> None:
        """`rate` in frames a second, None for a live source. Nothing is written yet."""
        self.path = Path(path)
        self.frames = 0
        self._rate = rate
        self._held: list[tuple[BgrPicture, float]] = []
        self._stack = contextlib.ExitStack()
        self._writer: cv2.VideoWriter | None = None
        self._temporary = self.path
        self._size = (0, 0)

    def take(self, result: Result) -> bool:
        """Write a frame; raises LmedgeError when the file cannot be written."""
        if self._writer is not None:
            self._write(result.annotated)
            return True
        self._held.append((result.annotated, result.frame.seconds))
        if self._rate is not None or len(self._held) == _MEASURED:
            self._start()
        return True

    def close(self) -> None:
        """Finish the file and give it its name; raises LmedgeError when it would not play."""
        if self._held:
            self._start()
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        with self._stack:
            self._check()

    def _start(self) -> None:
        rate = self._rate or _measured([seconds for _, seconds in self._held])
        self._size = _fitting(self._held[0][0])
        self._temporary = self._stack.enter_context(replacing(self.path))
        writer = cv2.VideoWriter(
            str(self._temporary), cv2.VideoWriter.fourcc(*"mp4v"), min(rate, MAX_RATE), self._size
        )
        held, self._held = self._held, []
        if not writer.isOpened():
            width, height = self._size
            error = LmedgeError(
                f"cannot record {self.path} at {width} x {height} pixels; the name must end in "
                ".mp4, and OpenCV must have FFmpeg (`pip install opencv-python`)"
            )
            with self._stack:
                raise error
        self._writer = writer
        for picture, _ in held:
            self._write(picture)

    def _write(self, picture: BgrPicture) -> None:
        assert self._writer is not None
        self._writer.write(letterbox(picture, *self._size))
        self.frames += 1

    def _check(self) -> None:
        """OpenCV's writer does not say when the disk is full: read the result's own index."""
        capture = cv2.VideoCapture(str(self._temporary))
        written = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if written < self.frames:
            raise LmedgeError(
                f"{self.path}: the recording could not be finished ({written} of {self.frames} "
                "frames); free space on its disk"
            )


def letterbox(picture: BgrPicture, width: int, height: int) -> BgrPicture:
    """Fit a picture, (H, W, 3) uint8, into (height, width, 3) with its shape kept, on black."""
    if picture.shape[:2] == (height, width):
        return picture
    scale = min(width / picture.shape[1], height / picture.shape[0])
    inner = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(picture, inner, interpolation=method)
    boxed = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    boxed[top : top + inner[1], left : left + inner[0]] = small
    return boxed


def _fitting(picture: BgrPicture) -> tuple[int, int]:
    """Width and height of the recording: the picture's, even as the codec wants, within limits."""
    height, width = picture.shape[:2]
    scale = min(1.0, _LONGEST / max(height, width))
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


def _measured(seconds: list[float]) -> float:
    gaps = [later - earlier for earlier, later in itertools.pairwise(seconds)]
    gap = statistics.median(gaps) if gaps else 0.0
    return 1.0 / gap if gap > 0 else LIVE_RATE
