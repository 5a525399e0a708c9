"""Sources of frames: a camera, a stream, a video, images; `open_source` chooses."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ..errors import DataError, SourceError
from ..evaluation.folders import list_images
from ..image import SUFFIXES, read_image
from .capture import (
    AS_IT_IS,
    DEVICE,
    PICAMERA,
    PORTS,
    Capture,
    CaptureOptions,
    open_device,
    open_picamera,
    open_url,
    open_video,
    without_password,
)
from .frames import WHOLE_FRAME, Frame, FrameSource, FrameView
from .live import LiveSource

DEFAULT_RATE = 25.0  # of a video that does not say
IMAGES_RATE = 1.0  # a folder of images, seen or recorded: one a second
# Containers may declare a few frames more than they hold; fewer than this share means damage.
LEAST_SHARE = 0.95

_log = logging.getLogger(__name__)


def open_source(
    source: int | str | os.PathLike[str],
    *,
    options: CaptureOptions = AS_IT_IS,
    view: FrameView = WHOLE_FRAME,
    give_up: float | None = None,
) -> FrameSource:
    """Open what `source` names; use the result in a `with` statement.

    - 0, "0" or "/dev/video0": a camera, live (a file named 0 is "./0");
    - "picamera2", or "picamera2:1" for the second: a Raspberry Pi's camera, live;
    - "http://...", "https://...", "rtsp://...": a stream, live; one that has an end and says so,
      a video on a web server, is read in full instead;
    - a folder, a file with an image's suffix, or a pattern such as "pictures/*.jpg": images;
    - any other file: a video.

    `options`: size and rate, for cameras. `give_up`: seconds without a frame after which a live
    source ends with CameraLostError; None tries for ever. Raises SourceError, naming the source,
    why it does not open, and what to do.
    """
    text = os.fspath(source) if not isinstance(source, int) else str(source)
    opener = _camera(text, options)
    if opener is not None:
        name = text if text.startswith(PICAMERA) else f"camera {text}"
        return LiveSource(name, opener, view=view, give_up=give_up)
    if options != AS_IT_IS:
        raise SourceError(f"{text}: size and rate can be asked of cameras only; leave them out")
    scheme, separator, _ = text.partition("://")
    if separator:
        return _open_stream(text, scheme.lower(), view, give_up)
    path = Path(text)
    if path.is_dir() or (path.suffix.lower() in SUFFIXES and not is_pattern(text)):
        return open_images(path, view)
    if is_pattern(text):
        return open_pattern(text, view)
    return VideoSource(path, view=view)


def is_pattern(text: str) -> bool:
    """Return whether `text` is a pattern and no file of that very name."""
    return glob.has_magic(text) and not Path(text).exists()


def _camera(text: str, options: CaptureOptions) -> Callable[[], Capture] | None:
    """Return how to open a camera, or None for what is none."""
    if (text.isascii() and text.isdigit()) or DEVICE.fullmatch(text):
        return partial(open_device, text, options)
    kind, _, number = text.partition(":")
    if kind == PICAMERA and (number.isdigit() or not number):
        return partial(open_picamera, int(number or 0), options)
    return None


def _open_stream(url: str, scheme: str, view: FrameView, give_up: float | None) -> FrameSource:
    name = without_password(url)
    if scheme not in PORTS:
        raise SourceError(f"{name}: {scheme}:// is not supported; use {', '.join(sorted(PORTS))}")
    opened_at_once = open_url(url)
    if opened_at_once.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        return VideoSource(name, opened_at_once, view)
    first: Capture | None = opened_at_once

    def opened() -> Capture:
        """Give the capture that is open already, and a new one when that was lost."""
        nonlocal first
        capture, first = first or open_url(url), None
        return capture

    return LiveSource(name, opened, view=view, give_up=give_up)


class VideoSource(FrameSource):
    """A video, each frame of it, in order and to its end."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        capture: cv2.VideoCapture | None = None,
        view: FrameView = WHOLE_FRAME,
    ) -> None:
        """Open `path`, or take a `capture` already open; raises SourceError when it is no video."""
        super().__init__(readable(path), view)
        self._capture = capture if capture is not None else open_video(Path(path))
        declared = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = declared if 0 < declared <= 1000 else DEFAULT_RATE
        self._seconds = 0.0

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame; raise SourceError when there is none."""
        index = 0
        while not self.stopped:
            delivered, image = self._capture.read()
            if not delivered:
                self._check_end(index)
                return
            yield Frame(
                image=self.view.apply(np.asarray(image, np.uint8)),
                index=index,
                seconds=self._time(index),
            )
            index += 1

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._capture.release()

    def _time(self, index: int) -> float:
        """Time of the frame just read; where the file's clock stands still, the frame rate's."""
        seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        if index and seconds <= self._seconds:
            seconds = self._seconds + 1.0 / (self.rate or DEFAULT_RATE)
        self._seconds = seconds
        return seconds

    def _check_end(self, frames: int) -> None:
        if not frames:
            raise SourceError(f"{self.name}: a video without frames, or damaged; record it again")
        declared = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if frames < LEAST_SHARE * declared:
            _log.warning(
                "%s: ended after %d of %d frames; cut short or damaged", self.name, frames, declared
            )


class ImageSource(FrameSource):
    """Images, in the given order; those that cannot be read are named, skipped and counted."""

    sequence = False
    rate = IMAGES_RATE

    def __init__(
        self, name: str, paths: Sequence[Path], root: Path, view: FrameView = WHOLE_FRAME
    ) -> None:
        """Take `paths`, whose frames are named from `root` on."""
        super().__init__(name, view)
        self.paths = tuple(paths)
        self._root = root

    def __iter__(self) -> Iterator[Frame]:
        """Yield every image that can be read; raise SourceError when there is none."""
        index = 0
        for path in self.paths:
            if self.stopped:
                return
            try:
                image = read_image(path)
            except DataError as error:
                if len(self.paths) == 1:
                    raise SourceError(str(error)) from error
                self.skipped += 1
                _log.warning("skipped %s", error)
                continue
            bgr = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), np.uint8)
            name = readable(path.relative_to(self._root))
            yield Frame(
                image=self.view.apply(bgr), index=index, seconds=index / IMAGES_RATE, name=name
            )
            index += 1
        if not index:
            raise SourceError(f"{self.name}: none of its {self.skipped} images can be read")


def open_pattern(pattern: str, view: FrameView = WHOLE_FRAME) -> ImageSource:
    """Open the images that a pattern with *, ? or [] names, sorted; ** goes into folders.

    Raises SourceError when it names none.
    """
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob wants it relative
    paths = [Path(name) for name in found if Path(name).suffix.lower() in SUFFIXES]
    if not paths:
        raise SourceError(f"{pattern}: names no images; put it in quotes, or pass a folder")
    return ImageSource(pattern, paths, Path(os.path.commonpath([p.parent for p in paths])), view)


def open_images(path: Path, view: FrameView = WHOLE_FRAME) -> ImageSource:
    """Open an image, or a folder with all images in and below it, in a fixed order.

    Hidden files are left out. Raises SourceError when the folder holds no image.
    """
    if not path.is_dir():
        return ImageSource(readable(path), [path], path.parent, view)
    try:
        paths = list_images(path)
    except DataError as error:
        raise SourceError(str(error)) from error
    if not paths:
        raise SourceError(
            f"{path}: holds no images; it should have files ending in {', '.join(sorted(SUFFIXES))}"
        )
    return ImageSource(readable(path), paths, path, view)


def readable(path: str | os.PathLike[str]) -> str:
    """Return a path as text that can always be printed, whatever bytes the file system holds."""
    return os.fsencode(path).decode("utf-8", "replace")
