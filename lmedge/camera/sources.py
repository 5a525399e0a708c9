"""Where frames come from: a camera, a stream, a video, pictures; `open_source` tells which."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import cv2

from lmedge.errors import SourceError
from lmedge.image import SUFFIXES

from .capture import DEVICE, PORTS, open_device, open_url, without_password
from .frames import Frame, Source
from .live import PATIENCE, LiveSource
from .recorded import PictureSource, VideoSource, open_pictures

__all__ = [
    "Frame",
    "LiveSource",
    "PictureSource",
    "Source",
    "VideoSource",
    "open_source",
]


def open_source(source: int | str | os.PathLike[str], *, patience: float = PATIENCE) -> Source:
    """Open what `source` names; use the result in a `with` statement.

    - 0, "0" or "/dev/video0": a camera, live (a file named 0 is "./0");
    - "http://...", "https://...", "rtsp://...": a stream, live; one that has an end and says so,
      a video on a web server, is read in full instead;
    - a folder, or a file with a picture's suffix: pictures;
    - any other file: a video.

    `patience`: seconds without a frame after which a live source fails. Raises SourceError, naming
    the source, why it does not open, and what to do.
    """
    text = os.fspath(source) if not isinstance(source, int) else str(source)
    if (text.isascii() and text.isdigit()) or DEVICE.fullmatch(text):
        return LiveSource(f"camera {text}", partial(open_device, text), patience=patience)
    scheme, separator, _ = text.partition("://")
    if separator:
        return _open_stream(text, scheme.lower(), patience)
    path = Path(text)
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        return open_pictures(path)
    return VideoSource(path)


def _open_stream(url: str, scheme: str, patience: float) -> Source:
    name = without_password(url)
    if scheme not in PORTS:
        raise SourceError(f"{name}: {scheme}:// is not supported; use {', '.join(sorted(PORTS))}")
    capture = open_url(url)
    if capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        return VideoSource(name, capture)
    return LiveSource(name, lambda: capture, patience=patience)
