"""Sources of frames: a camera, a stream, a video, images; `open_source` chooses."""

from __future__ import annotations

import dataclasses
import glob
import http.client
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..decoder_noise import counting_decoder_noise
from ..errors import DataError, SourceError
from ..evaluation.listing import list_images, only_images
from ..formats import SUFFIXES
from ..image import read_image
from .address import parse, without_secrets
from .capture import (
    AS_IT_IS,
    PICAMERA,
    Capture,
    CaptureOptions,
    names_camera,
    open_device,
    open_picamera,
    open_video,
    refuse_special,
)
from .frames import WHOLE_FRAME, Frame, FrameSource, FrameView
from .live import AbandonedError, LiveSource, ReplayedError, interruptible
from .mjpeg import DamagedFrameError
from .stream import Opened, open_stream

DEFAULT_RATE = 25.0  # of a video without one
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
    """Open a camera, a stream, a video or images; use the result in a `with` statement.

    - 0, "0", "/dev/video0" or a link to it, such as those in "/dev/v4l/by-id": a camera, live (a
      file named 0 is "./0");
    - "picamera2", or "picamera2:1" for the second: a Raspberry Pi's camera, live;
    - "http://...", "https://...", "rtsp://...": a stream, live; a stream with a known end, such as
      a video on a web server, is read in full instead;
    - a folder, a file with an image's suffix, or a pattern such as "images/*.jpg": images;
    - any other file: a video.

    Pipes are refused. JPEG frames that arrive cut or damaged are left out and counted.

    Args:
        source: One of the above.
        options: Size, rate and format to request of a camera.
        view: Rotation, mirroring and region of every frame.
        give_up: Seconds without a frame after which a live source raises CameraLostError; None
            waits for ever.

    Raises:
        SourceError: The source does not open; the message has the reason and the next step.
        MissingDependencyError: picamera2 is not installed.
    """
    text = os.fspath(source) if not isinstance(source, int) else str(source)
    opener = _camera(text, options)
    if opener is not None:
        name = text if text.startswith(PICAMERA) else f"camera {text}"
        return LiveSource(name, opener, view=view, give_up=give_up)
    shown = without_secrets(text)
    if options.asked:
        raise SourceError(
            f"{shown}: size, rate and format can be asked of cameras only; leave them out"
        )
    if parse(text) is not None:
        return _open_stream(text, view, give_up)
    if shown != text:
        raise SourceError(f"{shown}: an address has two slashes behind its colon; check it")
    path = Path(text)
    refuse_special(path)
    if path.is_dir() or (path.suffix.lower() in SUFFIXES and not is_pattern(text)):
        return open_images(path, view)
    if is_pattern(text):
        return open_pattern(text, view)
    return VideoSource(path, view=view)


def is_pattern(text: str) -> bool:
    """Return True if `text` is a pattern and no file has that very name."""
    return glob.has_magic(text) and not Path(text).exists()


def _camera(text: str, options: CaptureOptions) -> Callable[[], Capture] | None:
    """Return the function that opens a camera, None if `text` names no camera.

    A camera that returns may be another one: then it need not offer exactly what was asked.
    """
    if names_camera(text):
        first = iter([options])
        later = dataclasses.replace(options, exact=False)
        return lambda: open_device(text, next(first, later))
    kind, _, number = text.partition(":")
    if kind == PICAMERA and (number.isdigit() or not number):
        return partial(open_picamera, int(number or 0), options)
    return None


def _open_stream(url: str, view: FrameView, give_up: float | None) -> FrameSource:
    name = without_secrets(url)
    once = interruptible(partial(open_stream, url), lambda late: late.capture.release())
    if once.finite:
        return VideoSource(name, once.capture, view)
    first: Opened | None = once

    def opened() -> Capture:
        """Return the capture that is open already, then new ones."""
        nonlocal first
        known, first = first, None
        if known is not None:
            return known.capture
        again = open_stream(url)
        if once.beginning and again.beginning == once.beginning:
            again.capture.release()
            raise ReplayedError
        return again.capture

    return LiveSource(name, opened, view=view, give_up=give_up)


class VideoSource(FrameSource):
    """Every frame of a video, in order; a damaged JPEG frame is left out and counted."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        capture: Capture | None = None,
        view: FrameView = WHOLE_FRAME,
    ) -> None:
        """Open `path`, or take an open `capture`. Raises SourceError if it is no video."""
        super().__init__(readable(path), view)
        self._remote = capture is not None  # a read may wait for the network
        self._abandoned = False
        self._capture = capture if capture is not None else open_video(Path(path))
        declared = self._property(cv2.CAP_PROP_FPS)
        self.rate = declared if 0 < declared <= 1000 else DEFAULT_RATE
        self._seconds = 0.0

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame. Raises SourceError if there is none."""
        index = 0
        while not self.stopped:
            try:
                delivered, image = self._read()
            except DamagedFrameError:
                self.count_damaged()
                index += 1  # it has its time in the video
                continue
            if not delivered:
                if not self.stopped:
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
        if not self._abandoned:
            self._capture.release()

    def _read(self) -> tuple[bool, Any]:
        """Return the next frame; end soon after `stop` although a server is silent."""
        if not self._remote:
            return self._capture.read()
        try:
            return interruptible(
                self._capture.read, lambda _: self._capture.release(), lambda: self.stopped
            )
        except (AbandonedError, KeyboardInterrupt) as error:
            self._abandoned = True  # the thread that reads releases the capture
            if isinstance(error, KeyboardInterrupt):
                raise
            return False, None
        except (OSError, http.client.HTTPException) as error:
            raise SourceError(
                f"{self.name}: ended early ({str(error) or type(error).__name__}); check the "
                "network and start again"
            ) from error

    def _property(self, key: int) -> float:
        """Return a property of a capture by OpenCV, 0 of others."""
        get = getattr(self._capture, "get", None)
        return 0.0 if get is None else float(get(key))

    def _time(self, index: int) -> float:
        """Return the time of the last frame, by the frame rate if the file's clock stands still."""
        seconds = self._property(cv2.CAP_PROP_POS_MSEC) / 1000.0
        if index and seconds <= self._seconds:
            seconds = self._seconds + 1.0 / (self.rate or DEFAULT_RATE)
        self._seconds = seconds
        return seconds

    def _check_end(self, frames: int) -> None:
        if frames <= self.damaged:
            raise SourceError(f"{self.name}: a video without frames, or damaged; record it again")
        declared = int(self._property(cv2.CAP_PROP_FRAME_COUNT))
        if frames < LEAST_SHARE * declared:
            _log.warning(
                "%s: ended after %d of %d frames; cut short or damaged", self.name, frames, declared
            )


class ImageSource(FrameSource):
    """Images in the given order; an image that cannot be read is logged, skipped and counted."""

    sequence = False
    rate = IMAGES_RATE

    def __init__(
        self, name: str, paths: Sequence[Path], root: Path, view: FrameView = WHOLE_FRAME
    ) -> None:
        """Take `paths`; frames are named relative to `root`."""
        super().__init__(name, view)
        self.paths = tuple(paths)
        self._root = root

    def __iter__(self) -> Iterator[Frame]:
        """Yield every image that can be read. Raises SourceError if there is none."""
        index = 0
        for path in self.paths:
            if self.stopped:
                return
            try:
                with counting_decoder_noise():
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
    """Open the images that match a pattern with *, ? or [], sorted; ** matches folders.

    Raises SourceError if none matches.
    """
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob wants it relative
    paths = only_images(Path(name) for name in found)
    if not paths:
        raise SourceError(f"{pattern}: names no images; put it in quotes, or pass a folder")
    return ImageSource(pattern, paths, Path(os.path.commonpath([p.parent for p in paths])), view)


def open_images(path: Path, view: FrameView = WHOLE_FRAME) -> ImageSource:
    """Open an image, or a folder with all images in and below it, in a fixed order.

    Hidden files are left out. Raises SourceError if the folder holds no image.
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
    """Return a path as printable text, also if its bytes are no UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")
