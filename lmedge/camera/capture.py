"""OpenCV's video capture, opened quietly, with errors that say why and what to do."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import sys
import urllib.parse
from pathlib import Path
from typing import Any, Protocol

import cv2

from ..errors import SourceError

OPEN_SECONDS = 10.0
READ_SECONDS = 5.0
# Over TCP, as OpenCV has it by default; a frame cut short by the network is not shown in part.
_FFMPEG_OPTIONS = "rtsp_transport;tcp|fflags;discardcorrupt|err_detect;explode"
PORTS = {"http": 80, "https": 443, "rtsp": 554}
DEVICE = re.compile(r"/dev/video(\d+)")


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that a source needs; other cameras are adapted to it."""

    def read(self) -> tuple[bool, Any]:
        """Wait for a frame: (True, (H, W, 3) uint8 BGR), or (False, None)."""

    def release(self) -> None:
        """Give the device or connection back."""


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a camera is asked for: `size` (width, height) in pixels, `rate` in frames a second.

    Drivers take the nearest they have.
    """

    size: tuple[int, int] | None = None
    rate: float | None = None


NOTHING = Wish()


def open_device(device: int | str, wish: Wish = NOTHING) -> cv2.VideoCapture:
    """Open a camera by its index, or by its path /dev/videoN.

    Raises SourceError with the reason, as far as the system tells it.
    """
    match = DEVICE.fullmatch(str(device))
    index = int(match[1]) if match else int(device)
    capture = None
    # OpenCV adds the numbers of its backends to the index, so a large one means something else.
    if index < 100:
        _be_quiet()
        capture = cv2.VideoCapture(index)
        if capture.isOpened():
            _ask(capture, wish)
            return capture
        capture.release()
    raise SourceError(f"camera {device} does not open: {_why_no_device(index)}")


def _ask(capture: cv2.VideoCapture, wish: Wish) -> None:
    if wish.size is not None:
        # Uncompressed images beyond VGA do not fit through USB 2 at full rate.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, wish.size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wish.size[1])
    if wish.rate is not None:
        capture.set(cv2.CAP_PROP_FPS, wish.rate)


def open_url(url: str) -> cv2.VideoCapture:
    """Open an http, https or rtsp stream.

    Raises SourceError with the reason, as far as the network tells it; never shows a password.
    """
    _be_quiet()
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _FFMPEG_OPTIONS)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(1000 * OPEN_SECONDS)]
    limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(1000 * READ_SECONDS)]
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)
    if not capture.isOpened():
        capture.release()
        raise SourceError(f"{without_password(url)} does not open: {_why_no_stream(url)}")
    return capture


def open_video(path: Path) -> cv2.VideoCapture:
    """Open a video file; raises SourceError when it is missing or not a video."""
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read ({error.strerror}); check the name, or pass a camera's "
            "number, a folder or a URL"
        ) from error
    _be_quiet()
    capture = cv2.VideoCapture(str(path))
    if empty or not capture.isOpened():
        capture.release()
        raise SourceError(
            f"{path}: {'an empty file' if empty else 'not a video that OpenCV can read'}; pass a "
            "video (.mp4, .avi, .mkv, .mov), an image or a folder of images"
        )
    return capture


def without_password(url: str) -> str:
    """Return `url` without its user and password, fit for messages."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _be_quiet() -> None:
    """Keep OpenCV's and FFmpeg's own lines off the terminal: errors are said once, by us."""
    if os.environ.get("LMEDGE_RUNTIME_LOG"):
        return
    # OpenCV 4 has the function at its top, OpenCV 5 in a module; 0 is silent in both.
    home = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    home.setLogLevel(0)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET, read at the first open


def _why_no_device(index: int) -> str:
    if not sys.platform.startswith("linux"):
        return "it is absent or in use, or the system denies access; check the privacy settings"
    device = Path(f"/dev/video{index}")
    if not device.exists():
        present = sorted(str(path) for path in Path("/dev").glob("video*"))
        return (
            f"there is no {device}; pass --source with one of {', '.join(present)}"
            if present
            else f"there is no {device}, nor any other camera; connect one, or pass --source with "
            "a video, a folder or a URL"
        )
    if not os.access(device, os.R_OK | os.W_OK):
        return f"no permission on {device}; run `sudo usermod -aG video $USER` and log in again"
    return f"{device} is in use by another program or gives no images; try another number"


def _why_no_stream(url: str) -> str:
    """Ask the network itself: OpenCV does not tell why it gave up."""
    parts = urllib.parse.urlsplit(url)
    try:
        address = (parts.hostname or "", parts.port or PORTS[parts.scheme])
        socket.create_connection(address, timeout=3).close()
    except socket.gaierror:
        return f"no host is named {parts.hostname!r}; check the address and the network"
    except ValueError:
        return "the port is not a number from 0 to 65535; check the address"
    except OSError as error:
        reason = str(error.strerror or error).lower()
        return f"no connection to {address[0]}:{address[1]} ({reason}); is the camera on?"
    return "the server answers, but not with a video OpenCV can read; check path and password"
