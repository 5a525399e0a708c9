"""Where frames come from: a camera, a stream, a video, images; `open_source` tells which."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2

from ..errors import SourceError
from ..image import SUFFIXES
from .capture import DEVICE, NOTHING, PORTS, Capture, Wish, open_device, open_url, without_password
from .frames import WHOLE, Frame, Source, View
from .live import LiveSource
from .picamera import PICAMERA, open_picamera
from .recorded import ImageSource, VideoSource, open_images, open_pattern

__all__ = [
    "Frame",
    "ImageSource",
    "LiveSource",
    "Source",
    "VideoSource",
    "open_source",
]


def open_source(
    source: int | str | os.PathLike[str],
    *,
    wish: Wish = NOTHING,
    view: View = WHOLE,
    give_up: float | None = None,
) -> Source:
    """Open what `source` names; use the result in a `with` statement.

    - 0, "0" or "/dev/video0": a camera, live (a file named 0 is "./0");
    - "picamera2", or "picamera2:1" for the second: a Raspberry Pi's camera, live;
    - "http://...", "https://...", "rtsp://...": a stream, live; one that has an end and says so,
      a video on a web server, is read in full instead;
    - a folder, a file with an image's suffix, or a pattern such as "pictures/*.jpg": images;
    - any other file: a video.

    `wish`: size and rate, for cameras. `give_up`: seconds without a frame after which a live
    source ends with CameraLostError; None tries for ever. Raises SourceError, naming the source,
    why it does not open, and what to do.
    """
    text = os.fspath(source) if not isinstance(source, int) else str(source)
    opener = _camera(text, wish)
    if opener is not None:
        name = text if text.startswith(PICAMERA) else f"camera {text}"
        return LiveSource(name, opener, view=view, give_up=give_up)
    if wish != NOTHING:
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


def _camera(text: str, wish: Wish) -> Callable[[], Capture] | None:
    """Return how to open a camera, or None for what is none."""
    if (text.isascii() and text.isdigit()) or DEVICE.fullmatch(text):
        return partial(open_device, text, wish)
    kind, _, number = text.partition(":")
    if kind == PICAMERA and (number.isdigit() or not number):
        return partial(open_picamera, int(number or 0), wish)
    return None


def _open_stream(url: str, scheme: str, view: View, give_up: float | None) -> Source:
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
