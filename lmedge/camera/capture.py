"""Captures: cameras and video files by OpenCV, a Raspberry Pi's camera by picamera2.

They are opened quietly, and an error names the reason and the remedy.
"""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any, Protocol

import cv2

from ..errors import MissingDependencyError, SourceError
from ..progress import TALK
from ..regular import is_regular
from .mjpeg import MjpegCapture, leaving_jpeg

DEVICE = re.compile(r"/dev/video(\d+)")
STABLE_NAMES = "/dev/v4l/"  # by-id and by-path: links of udev to /dev/videoN
VIDEO_MAJOR = 81  # of every video device of Linux
PICAMERA = "picamera2"
PICAMERA_SIZE = (640, 480)
_SYSTEM = Path("/sys/class/video4linux")
_PROBED = 5  # numbers tried if the system keeps no list
_JPEG = b"\xff\xd8\xff"
_INSTEAD = "save the stream as a file, or serve it over http and pass its address"


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


def names_camera(text: str) -> bool:
    """Return True for a camera's number, its /dev/videoN, or a link to it, also a broken one."""
    if (text.isascii() and text.isdigit()) or text.startswith(STABLE_NAMES):
        return True
    if DEVICE.fullmatch(os.path.realpath(text)):
        return True
    try:
        found = Path(text).stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) == VIDEO_MAJOR


def open_device(device: str, options: CaptureOptions = AS_IT_IS) -> Capture:
    """Open a camera by its index, by its path /dev/videoN, or by a link to that.

    A link is followed at each call: a camera that returns may have another number.

    Raises SourceError with the reason, as far as the system reports it.
    """
    path = Path(f"/dev/video{device}" if device.isdigit() else device)
    match = DEVICE.fullmatch(os.path.realpath(path))
    # OpenCV adds the numbers of its backends to the index, so a large one means something else.
    if path.exists() if match is None else int(match[1]) < 100:
        be_quiet()
        if match is None:
            capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
        else:
            capture = cv2.VideoCapture(int(match[1]))
        if capture.isOpened():
            _ask(capture, options)
            # V4L2 then hands over what the camera sent; other systems know no such setting.
            return leaving_jpeg(capture, cv2.CAP_PROP_CONVERT_RGB, 0)
        capture.release()
    raise SourceError(f"camera {device} does not open: {_why_no_device(path)}")


def _ask(capture: cv2.VideoCapture, options: CaptureOptions) -> None:
    if options.size is not None:
        # Uncompressed images beyond VGA do not fit through USB 2 at full rate.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, options.size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options.size[1])
    if options.rate is not None:
        capture.set(cv2.CAP_PROP_FPS, options.rate)


def open_video(path: Path) -> cv2.VideoCapture | Capture:
    """Open a video file. Raises SourceError if it is missing, no file or not a video."""
    try:
        with path.open("rb") as stream:
            head = stream.read(len(_JPEG))
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read ({error.strerror}); check the name, or pass a camera's "
            "number, a folder or a URL"
        ) from error
    if head == _JPEG:
        stream = path.open("rb")
        return MjpegCapture(stream.read, stream.close)
    be_quiet()
    capture = cv2.VideoCapture(str(path))
    if not head or not capture.isOpened():
        capture.release()
        raise SourceError(
            f"{path}: {'an empty file' if not head else 'not a video that OpenCV can read'}; pass "
            "a video (.mp4, .avi, .mkv, .mov), an image or a folder of images"
        )
    return leaving_jpeg(capture, cv2.CAP_PROP_FORMAT, -1)


def refuse_special(path: Path) -> None:
    """Raise SourceError for a pipe, a socket or a device, whose end nobody knows."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    if not is_regular(mode) and not stat.S_ISDIR(mode):
        kinds = {stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
        kind = next((name for test, name in kinds.items() if test(mode)), "a device, no camera")
        raise SourceError(f"{path}: {kind}, which is not read; {_INSTEAD}")


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
        open_device(str(number)).release()
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


def be_quiet(*, secret: bool = False) -> None:
    """Keep the lines of OpenCV and FFmpeg off the terminal; lmedge reports each error once.

    With `-vv` they appear, unless the address in them is `secret`.
    """
    if os.environ.get(TALK) and not secret:
        return
    # OpenCV 4 has the function at its top, OpenCV 5 in a module; 0 is silent in both.
    home = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    home.setLogLevel(0)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET, read at the first open


def _why_no_device(device: Path) -> str:
    if not sys.platform.startswith("linux"):
        return "it is absent or in use, or the system denies access; check the privacy settings"
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
