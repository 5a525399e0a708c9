"""Motion JPEG: frames out of a stream of bytes, and captures that leave out damaged ones.

Frames are found by their own marks. Lengths and boundaries in a multipart stream are not needed:
some cameras leave out the first boundary or send a wrong length.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ..jpeg import END, START, decode_jpeg

MJPG = cv2.VideoWriter.fourcc(*"MJPG")
MOST_BYTES = 32 << 20  # of a frame; more without an end is no JPEG
CHUNK = 1 << 16
_BEGIN = START + b"\xff"
_SCAN = 0xDA
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
# In the codes of a scan, FF is followed by 00, a restart mark or another FF.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class DamagedFrameError(Exception):
    """A frame arrived cut or damaged; the next one may be whole."""


class JpegSplitter:
    """JPEG frames, cut out of a stream by their marks.

    `feed` takes bytes and `take` returns the next frame. A frame that another one begins inside of
    is returned as far as it goes; the decoder finds that it is not whole.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._at = 0  # up to here the frame was walked
        self._scanning = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._bytes += data

    def take(self) -> bytes | None:
        """Return the next frame, None if its end has not come yet."""
        if not self._at and not self._begin():
            return None
        end = self._walk()
        if end is None:
            if len(self._bytes) <= MOST_BYTES:
                return None
            end = len(_BEGIN)  # look for another beginning behind this one
        return self._cut(end)

    def rest(self) -> bytes | None:
        """Return what there is of a frame at the end of the stream, None if there is nothing."""
        return self._cut(len(self._bytes)) if self._at or self._begin() else None

    def _begin(self) -> bool:
        start = self._bytes.find(_BEGIN)
        if start < 0:
            del self._bytes[: max(0, len(self._bytes) - len(_BEGIN) + 1)]
            return False
        del self._bytes[:start]
        self._at, self._scanning = len(START), False
        return True

    def _cut(self, end: int) -> bytes:
        frame = bytes(self._bytes[:end])
        del self._bytes[:end]
        self._at = 0
        return frame

    def _walk(self) -> int | None:
        """Return the length of the frame, None if more bytes are needed."""
        data = self._bytes
        while True:
            if self._scanning:
                found = _MARKER.search(data, self._at)
                if found is None:
                    self._at = max(self._at, len(data) - 1)
                    return None
                self._at, self._scanning = found.start(), False
            at = self._at
            if len(data) < at + 4:
                return at + 2 if data[at : at + 2] == END else None
            if data[at] != 0xFF:
                return max(at, len(_BEGIN))  # no segment: the frame is damaged
            marker = data[at + 1]
            if marker == END[1]:
                return at + 2
            if marker == START[1]:
                return at  # the next frame: this one was cut
            if marker == 0xFF or marker in _WITHOUT_LENGTH:
                self._at += 1 if marker == 0xFF else 2
                continue
            self._at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            self._scanning = marker == _SCAN


class MjpegCapture:
    """A Capture over a stream of bytes."""

    def __init__(
        self,
        read: Callable[[int], bytes],
        close: Callable[[], object],
        head: bytes = b"",
    ) -> None:
        """Take functions that read up to so many bytes, and that close the stream.

        `head` is what was read of the stream already. `read` returns no bytes at its end and raises
        OSError if it fails.
        """
        self._read, self._close = read, close
        self._splitter = JpegSplitter()
        self._splitter.feed(head)
        self._ended = False

    def read(self) -> tuple[bool, Any]:
        """Wait for a frame: (True, (H, W, 3) uint8 BGR), or (False, None) at the end.

        Raises DamagedFrameError for a frame that is not whole.
        """
        while (frame := self._splitter.take()) is None:
            data = b"" if self._ended else self._read(CHUNK)
            if not data:
                self._ended = True
                frame = self._splitter.rest()
                if frame is None:
                    return False, None
                break
            self._splitter.feed(data)
        return True, decoded(frame)

    def release(self) -> None:
        """Close the stream."""
        self._close()


class PacketCapture:
    """A Capture over OpenCV's, which hands over JPEG data instead of decoding it."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture

    def read(self) -> tuple[bool, Any]:
        """Do as `cv2.VideoCapture.read`. Raises DamagedFrameError for a frame that is not whole."""
        delivered, data = self._capture.read()
        if not delivered or data is None or data.ndim != 2 or data.shape[0] != 1:
            return delivered, data
        return True, decoded(np.asarray(data, np.uint8).ravel())

    def get(self, key: int) -> float:
        """Return a property, as `cv2.VideoCapture.get`."""
        return self._capture.get(key)

    def release(self) -> None:
        """Give the device or file back."""
        self._capture.release()


def decoded(frame: bytes | npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Decode a frame: (H, W, 3) uint8 BGR. Raises DamagedFrameError unless it is whole."""
    image = decode_jpeg(frame, "bgr")
    if image is None:
        raise DamagedFrameError("its images arrive damaged")
    return image


def leaving_jpeg(
    capture: cv2.VideoCapture, key: int, value: int
) -> cv2.VideoCapture | PacketCapture:
    """Return a Capture that leaves JPEG data to `decoded`, if `capture` has such data.

    OpenCV itself shows damaged data with invented rows.

    Args:
        capture: An open capture.
        key: The property that makes it hand over the data: its format for FFmpeg, the conversion
            to RGB for a device.
        value: The value to set it to.
    """
    if int(capture.get(cv2.CAP_PROP_FOURCC)) == MJPG and capture.set(key, value):
        return PacketCapture(capture)
    return capture
