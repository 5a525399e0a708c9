"""Captures: cameras and streams by OpenCV, a Raspberry Pi's camera by picamera2.

Both are opened quietly, and an error names the reason and the remedy.
"""

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

from ..errors import MissingDependencyError, SourceError
from ..progress import TALK

OPEN_SECONDS = 10.0
READ_SECONDS = 5.0
PORTS = {"http": 80, "https": 443, "rtsp": 554}
DEVICE = re.compile(r"/dev/video(\d+)")
PICAMERA = "picamera2"
PICAMERA_SIZE = (640, 480)
# Over TCP, as OpenCV has it by default; a frame cut short by the network is not shown in part.
_FFMPEG_OPTIONS = "rtsp_transport;tcp|fflags;discardcorrupt|err_detect;explode"
_SYSTEM = Path("/sys/class/video4linux")
_PROBED = 5  # numbers tried if the system keeps no list


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that a source needs, and that other cameras are adapted to."""

    def read(self) -> tuple[bool, Any]:
        """Wait for a frame: (True, (H, W, 3) uint8 BGR), or (False, None)."""

    def release(self) -> None:
        """Give the device or connection back."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptureOptions:
    """Size and rate to request of a camera; drivers take the nearest that they have.

    Attributes:
        size: (width, height) in pixels; None leaves it to the camera.
        rate: Frames a second; None leaves it to the camera.
    """

    size: tuple[int, int] | None = None
    rate: float | None = None


AS_IT_IS = CaptureOptions()


def open_device(device: int | str, options: CaptureOptions = AS_IT_IS) -> cv2.VideoCapture:
    """Open a camera by its index, or by its path /dev/videoN.

    Raises SourceError with the reason, as far as the system reports it.
    """
    match = DEVICE.fullmatch(str(device))
    index = int(match[1]) if match else int(device)
    capture = None
    # OpenCV adds the numbers of its backends to the index, so a large one means something else.
    if index < 100:
        _be_quiet()
        capture = cv2.VideoCapture(index)
        if capture.isOpened():
            _ask(capture, options)
            return capture
        capture.release()
    raise SourceError(f"camera {device} does not open: {_why_no_device(index)}")


def _ask(capture: cv2.VideoCapture, options: CaptureOptions) -> None:
    if options.size is not None:
        # Uncompressed images beyond VGA do not fit through USB 2 at full rate.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, options.size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options.size[1])
    if options.rate is not None:
        capture.set(cv2.CAP_PROP_FPS, options.rate)


def open_url(url: str) -> cv2.VideoCapture:
    """Open an http, https or rtsp stream.

    Raises SourceError with the reason, as far as the network reports it, without a password.
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
    """Open a video file. Raises SourceError if it is missing or not a video."""
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


class PiCapture:
    """A Capture over a Picamera2 that was started."""

    def __init__(self, camera: Any) -> None:
        self._camera = camera

    def read(self) -> tuple[bool, Any]:
        """Wait for a frame: (True, (H, W, 3) uint8 BGR)."""
        return True, self._camera.capture_array("main")

    def release(self) -> None:
        """Stop the camera and give it back."""
        self._camera.stop()
        self._camera.close()


def open_picamera(number: int, options: CaptureOptions) -> PiCapture:
    """Start a camera by its number.

    Raises MissingDependencyError without picamera2, SourceError if the camera does not start.
    """
    camera_class = _library()
    try:
        camera = camera_class(number)
        # picamera2 names formats by the order in a register: its RGB888 is BGR in memory.
        main = {"format": "RGB888", "size": options.size or PICAMERA_SIZE}
        controls = {} if options.rate is None else {"FrameRate": options.rate}
        camera.configure(camera.create_video_configuration(main=main, controls=controls))
        camera.start()
    except (RuntimeError, IndexError, OSError) as error:
        raise SourceError(
            f"{PICAMERA}:{number} does not start ({error}); check the ribbon cable, and "
            "`lmedge camera --list`"
        ) from error
    return PiCapture(camera)


def list_cameras(system: Path = _SYSTEM, devices: Path = Path("/dev")) -> list[str]:
    """Return a line for each camera: the value of --source, the name, and any problem."""
    return [*_video_devices(system, devices), *list_picameras()]


def _video_devices(system: Path, devices: Path) -> list[str]:
    if not sys.platform.startswith("linux"):
        return [f"{number}" for number in range(_PROBED) if _opens(number)]
    lines = []
    for entry in sorted(system.glob("video[0-9]*"), key=lambda path: int(path.name[5:])):
        # A camera may have more than one node; only the first, index 0, gives images.
        if _read(entry / "index") not in {"", "0"}:
            continue
        device = devices / entry.name
        allowed = os.access(device, os.R_OK | os.W_OK)
        note = "" if allowed else "  no permission: sudo usermod -aG video $USER, log in again"
        lines.append(f"{device}  {_read(entry / 'name') or 'unnamed'}{note}")
    return lines


def _opens(number: int) -> bool:
    try:
        open_device(number).release()
    except SourceError:
        return False
    return True


def _read(path: Path) -> str:
    try:
        return " ".join(path.read_text("utf-8", "replace").split())
    except OSError:
        return ""


def list_picameras() -> list[str]:
    """Return a line for each camera; empty without picamera2."""
    try:
        found = _library().global_camera_info()
    except MissingDependencyError:
        return []
    return [f"{PICAMERA}:{entry['Num']}  {entry['Model']}" for entry in found]


def _library() -> Any:
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise MissingDependencyError(
            "picamera2 is not installed; on a Raspberry Pi run `sudo apt install python3-picamera2`"
            " and make the environment with --system-site-packages"
        ) from error
    return Picamera2


def _be_quiet() -> None:
    """Keep the lines of OpenCV and FFmpeg off the terminal; lmedge reports each error once."""
    if os.environ.get(TALK):
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
    """Find the reason by a connection of our own, since OpenCV reports none."""
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
