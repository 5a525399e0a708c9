"""Captures: cameras and video files by OpenCV, a Raspberry Pi's camera by picamera2.

They are opened quietly, and an error names the reason and the remedy.
"""

from __future__ import annotations

import dataclasses
import logging
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
from .offer import MJPG
from .v4l2 import problem_of, read_offer

DEVICE = re.compile(r"/dev/video(\d+)")
STABLE_NAMES = "/dev/v4l/"  # by-id and by-path: links of udev to /dev/videoN
VIDEO_MAJOR = 81  # of every video device of Linux
PICAMERA = "picamera2"
PICAMERA_SIZE = (640, 480)
_JPEG = b"\xff\xd8\xff"
_INSTEAD = "save the stream as a file, or serve it over http and pass its address"

_log = logging.getLogger(__name__)


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that a source needs, and that other cameras are adapted to."""

    def read(self) -> tuple[bool, Any]:
        """Wait for a frame: (True, (H, W, 3) uint8 BGR), or (False, None)."""

    def release(self) -> None:
        """Give the device or connection back."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptureOptions:
    """Size, rate and format to request of a camera; drivers take the nearest that they have.

    Attributes:
        size: (width, height) in pixels; None leaves it to the camera.
        rate: Frames a second; None leaves it to the camera.
        format: Code of the format of pixels, such as MJPG or YUYV; None takes MJPG for a size that
            the camera offers so, otherwise one that has the size.
        exact: True refuses what a camera of Linux does not offer; False logs that and takes the
            nearest.
    """

    size: tuple[int, int] | None = None
    rate: float | None = None
    format: str | None = None
    exact: bool = False

    @property
    def asked(self) -> bool:
        """True if anything is requested."""
        return (self.size, self.rate, self.format) != (None, None, None)


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


def device_path(device: str) -> Path:
    """Return the path of a camera that `names_camera` accepts."""
    return Path(f"/dev/video{device}" if device.isdigit() else device)


def open_device(device: str, options: CaptureOptions = AS_IT_IS) -> Capture:
    """Open a camera by its index, by its path /dev/videoN, or by a link to that.

    A link is followed at each call: a camera that returns may have another number.

    Raises SourceError with the reason, as far as the system reports it.
    """
    path = device_path(device)
    match = DEVICE.fullmatch(os.path.realpath(path))
    code = _format_for(device, path, options)
    # OpenCV adds the numbers of its backends to the index, so a large one means something else.
    if path.exists() if match is None else int(match[1]) < 100:
        be_quiet()
        if match is None:
            capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
        else:
            capture = cv2.VideoCapture(int(match[1]))
        if capture.isOpened():
            _ask(capture, options, code)
            # V4L2 then hands over what the camera sent; other systems know no such setting.
            return leaving_jpeg(capture, cv2.CAP_PROP_CONVERT_RGB, 0)
        capture.release()
    raise SourceError(f"camera {device} does not open: {_why_no_device(path)}")


def _format_for(device: str, path: Path, options: CaptureOptions) -> str | None:
    """Return the code of the format to request, None to leave it to OpenCV.

    Raises SourceError if the camera does not offer what is asked, and that must be exact.
    """
    usual = options.format or (MJPG if options.size is not None else None)
    if not options.asked or not sys.platform.startswith("linux"):
        return usual
    try:
        offer = read_offer(path, readable_only=True)
    except OSError:  # opening tells why
        return usual
    if offer is None or not offer.formats:
        return usual
    unmet = offer.unmet(options.format, options.size, options.rate)
    if unmet is None:
        return options.format or offer.format_for(options.size, options.rate)
    asked, instead = unmet
    if options.exact:
        raise SourceError(f"camera {device} does not offer {asked}; pass one of {instead}")
    _log.warning("camera %s does not offer %s; the nearest of %s is taken", device, asked, instead)
    near = usual if any(one.code == usual for one in offer.formats) else None
    return offer.format_for(options.size, None) or near


def _ask(capture: cv2.VideoCapture, options: CaptureOptions, code: str | None) -> None:
    if code is not None:
        letters = code.ljust(4)
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*letters))
    if options.size is not None:
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
    if options.format is not None:
        raise SourceError(f"{PICAMERA}:{number} chooses its format itself; leave --format out")
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


def list_picameras() -> list[tuple[str, str]]:
    """Return `--source` and the model of each camera; empty without picamera2."""
    try:
        found = _library().global_camera_info()
    except MissingDependencyError:
        return []
    return [(f"{PICAMERA}:{entry['Num']}", str(entry["Model"])) for entry in found]


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
    try:
        offer = read_offer(device, readable_only=True)
    except OSError as error:
        return f"{device}: {problem_of(error)}"
    if offer is None:
        return f"{device} takes no images; pass one of `lmedge camera --list`"
    if offer.formats and not any(one.readable for one in offer.formats):
        codes = ", ".join(one.code for one in offer.formats)
        return f"{device} offers {codes} alone, which lmedge does not read; pass another camera"
    return f"{device} is in use by another program or gives no images; try another number"
