"""The annotated video: a fragmented mp4 that plays to its last second after any end."""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import shutil
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import LmedgeError, MissingDependencyError
from ..field.store import FREE_BYTES
from ..files import temporary_name
from ..writers import held
from .frames import Absence, BgrImage
from .loop import Clock
from .sinks import FrameResult

# Fragments begin at key frames, and each is flushed, so that a kill loses the last one only.
_CONTAINER = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof",
    "flush_packets": "1",
}
_H264 = {"preset": "ultrafast", "tune": "zerolatency", "crf": "23", "force-cfr": "0"}
_FRAGMENT = 1.0  # seconds
_CLOCK = Fraction(1, 90_000)  # seconds a tick, as MPEG has it
_LONGEST = 3840  # pixels; panoramas are recorded smaller, players end at 4096
_NOMINAL_RATE = 30  # frames a second, for players that ask; the times are those of the frames
_PAUSE = 60.0  # seconds between two looks at a full disk
# The disk, the share of a user, or a file system's limit of one file is used up.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_log = logging.getLogger(__name__)


class Recorder:
    """Record annotated frames to an mp4 (H.264), at the times of the stream.

    The first frame sets the size, and a frame of another shape gets black bars. The file appears
    with its first fragment, after a second, and replaces an older one. It plays to the last second
    even if the process is killed or the disk is full.

    A full disk pauses the recording. Once there is space again it goes on in a file beside, NAME-2,
    NAME-3 and so on, since a fragmented file is not continued.

    Attributes:
        path: The file that is written, or will be.
        frames: Frames that were written to it.
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Clock = time.monotonic) -> None:
        """Take the path of the file, and a function that returns seconds.

        Raises MissingDependencyError without PyAV, LmedgeError if another recorder has the file.
        """
        self.path = self._named = Path(path)
        self.frames = 0
        self._clock = clock
        self._full = ""  # the problem of a full disk, while the recording pauses
        self._next_look = 0.0
        self._begun = 0.0  # seconds of the stream at which a later file begins
        self._av = _library()
        self._alone = contextlib.ExitStack()
        self._alone.enter_context(held(self.path))
        self._container: Any = None
        self._stream: Any = None
        self._size = (0, 0)
        self._ticks = -1
        self._key = 0  # ticks of the last key frame
        self._failed = self._closed = False
        self._place = self.path  # a hidden name until the first fragment is written

    def take(self, result: FrameResult) -> bool:
        """Write a frame. Raises LmedgeError if the file cannot be written."""
        if self._full:
            self._go_on(result.frame.seconds)
        image = result.annotated
        with self._one_line_errors():
            if self._failed:
                return True
            if self._container is None:
                self._start(image)
            self._write(image, result.frame.seconds - self._begun)
        return True

    @property
    def goes_on(self) -> bool:
        """True while a full disk pauses the recording."""
        return bool(self._full)

    def _go_on(self, seconds: float) -> None:
        """Begin another file if there is space again. Raises LmedgeError while there is none."""
        now, free = self._clock(), 0
        if now >= self._next_look:
            self._next_look = now + _PAUSE
            with contextlib.suppress(OSError):
                free = shutil.disk_usage(self._named.parent).free
        if free < FREE_BYTES:
            raise LmedgeError(self._full)
        self._begin_again(seconds)

    def _begin_again(self, seconds: float) -> None:
        if self._place == self.path and os.path.lexists(self.path):  # with a part of this recording
            parts = (self._named.with_stem(f"{self._named.stem}-{n}") for n in itertools.count(2))
            self.path = next(path for path in parts if not os.path.lexists(path))
        self._full, self._place, self._begun = "", self.path, seconds
        self.frames, self._ticks, self._key = 0, -1, 0
        _log.info("the recording goes on in %s", self.path)

    def absent(self, absence: Absence) -> bool:
        """Write nothing, so that the frame before stands that long in the video."""
        return True

    def close(self) -> None:
        """Finish the file. Raises LmedgeError if it cannot be written."""
        self._closed = True
        with self._alone:
            self._finish()

    def _finish(self) -> None:
        if self._container is None:
            return
        container, self._container = self._container, None
        with self._one_line_errors():
            with container:
                container.mux(self._stream.encode())
            # FFmpeg reports no error of its last writes
            if self._place.is_file() and not self._cut():
                raise OSError("its end is missing")

    def _start(self, image: BgrImage) -> None:
        self._size = _fitting(image)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists() or self.path.is_file():
            self._place = temporary_name(Path(os.path.realpath(self.path)))
        self._container = self._av.open(str(self._place), "w", format="mp4", options=_CONTAINER)
        codec = "libx264" if "libx264" in self._av.codecs_available else "mpeg4"
        stream = self._container.add_stream(codec, rate=_NOMINAL_RATE)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = _CLOCK
        if codec == "libx264":
            stream.options = _H264
        self._stream = stream

    def _write(self, image: BgrImage, seconds: float) -> None:
        frame = self._av.VideoFrame.from_ndarray(letterbox(image, *self._size), format="bgr24")
        before, self._ticks = self._ticks, max(self._ticks + 1, round(seconds / _CLOCK))
        frame.pts, frame.time_base = self._ticks, _CLOCK
        ended = False
        if not self.frames or (self._ticks - self._key) * _CLOCK >= _FRAGMENT:
            frame.pict_type = self._av.video.frame.PictureType.I
            self._key, ended = self._ticks, self.frames > 0
        for packet in self._stream.encode(frame):
            if before >= 0:  # how long the last frame of a fragment stands is not known yet
                packet.duration = self._ticks - before
            self._container.mux(packet)
        if ended:  # a fragment, and it is written
            self._appear()
        self.frames += 1

    def _appear(self) -> None:
        if self._place != self.path:
            self._place.replace(os.path.realpath(self.path))
            self._place = self.path

    def _cut(self) -> bool:
        """Keep the whole fragments under the final name; return True if nothing was missing."""
        whole = _cut_to_whole_boxes(self._place)
        if self._place.exists():
            self._appear()
        return whole

    @contextlib.contextmanager
    def _one_line_errors(self) -> Any:
        """Turn errors of PyAV and of the system into one line."""
        try:
            yield
        except (OSError, self._av.FFmpegError) as error:
            container, self._container = self._container, None
            if container is not None:
                with contextlib.suppress(OSError, self._av.FFmpegError):
                    container.close()
            with contextlib.suppress(OSError):
                if self._place.is_file():
                    self._cut()
            reason = getattr(error, "strerror", None) or error
            problem = f"cannot write {self.path}: {reason}"
            regular = not self._named.exists() or self._named.is_file()
            if error.errno not in _FULL or not regular or self._closed:
                self._failed = True
                raise LmedgeError(f"{problem}; free space or choose another folder") from error
            self._next_look = self._clock() + _PAUSE
            self._full = f"{problem}; the recording pauses until there is space"
            raise LmedgeError(self._full) from error


def _cut_to_whole_boxes(path: Path) -> bool:
    """Cut an unfinished fragment off an mp4; return True if it was finished by its index.

    A file without a whole fragment is removed. A box is its size in four bytes, big-endian, its
    name in four, and its content; a size of 1 puts it behind the name, in eight (ISO 14496-12).
    """
    size, place, whole, name = path.stat().st_size, 0, 0, b""
    with path.open("rb") as stream:
        while place + 8 <= size:
            stream.seek(place)
            head = stream.read(16)
            length = int.from_bytes(head[:4], "big")
            length = int.from_bytes(head[8:], "big") if length == 1 else length
            if length < 8 or place + length > size:
                break
            place, name = place + length, head[4:8]
            if name in {b"mdat", b"mfra"}:
                whole = place
    if whole == 0:
        path.unlink()
    elif whole < size:
        os.truncate(path, whole)
    return whole == size and name == b"mfra"


def letterbox(image: BgrImage, width: int, height: int) -> BgrImage:
    """Fit an image, (H, W, 3) uint8, into (height, width, 3) with its shape kept, on black."""
    if image.shape[:2] == (height, width):
        return image
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(image, inner, interpolation=method)
    boxed = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    boxed[top : top + inner[1], left : left + inner[0]] = small
    return boxed


def _fitting(image: BgrImage) -> tuple[int, int]:
    """Return width and height of the recording: those of the image, even and within limits."""
    height, width = image.shape[:2]
    scale = min(1.0, _LONGEST / max(height, width))
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


def _library() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(
            "recording needs PyAV: run `pip install 'lmedge[camera]'`"
        ) from error
    return av
