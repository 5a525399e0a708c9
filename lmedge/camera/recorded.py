"""Recorded sources: a video file, images; read in full, frame by frame."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import DataError, SourceError
from ..evaluation.folders import list_images
from ..image import SUFFIXES, read_image
from .capture import open_video
from .frames import WHOLE as FULL_VIEW
from .frames import Frame, Source, View

DEFAULT_RATE = 25.0  # of a video that does not say
IMAGES_RATE = 1.0  # a folder of images, seen or recorded: one a second
# Containers may declare a few frames more than they hold; fewer than this share means damage.
WHOLE = 0.95

_log = logging.getLogger(__name__)


class VideoSource(Source):
    """A video, each frame of it, in order and to its end."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        capture: cv2.VideoCapture | None = None,
        view: View = FULL_VIEW,
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
            yield Frame(self.view.apply(np.asarray(image, np.uint8)), index, self._time(index))
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
        if frames < WHOLE * declared:
            _log.warning(
                "%s: ended after %d of %d frames; cut short or damaged", self.name, frames, declared
            )


class ImageSource(Source):
    """Images, in the given order; those that cannot be read are named, skipped and counted."""

    sequence = False
    rate = IMAGES_RATE

    def __init__(
        self, name: str, paths: Sequence[Path], root: Path, view: View = FULL_VIEW
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
            yield Frame(self.view.apply(bgr), index, index / IMAGES_RATE, name)
            index += 1
        if not index:
            raise SourceError(f"{self.name}: none of its {self.skipped} images can be read")


def open_pattern(pattern: str, view: View = FULL_VIEW) -> ImageSource:
    """Open the images that a pattern with *, ? or [] names, sorted; ** goes into folders.

    Raises SourceError when it names none.
    """
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob wants it relative
    paths = [Path(name) for name in found if Path(name).suffix.lower() in SUFFIXES]
    if not paths:
        raise SourceError(f"{pattern}: names no images; put it in quotes, or pass a folder")
    return ImageSource(pattern, paths, Path(os.path.commonpath([p.parent for p in paths])), view)


def open_images(path: Path, view: View = FULL_VIEW) -> ImageSource:
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
