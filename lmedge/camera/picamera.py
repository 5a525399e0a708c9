"""A Raspberry Pi's camera by picamera2, read as OpenCV's captures are."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ..errors import MissingDependencyError, SourceError
from .capture import Wish, open_device

_SYSTEM = Path("/sys/class/video4linux")
_PROBED = 5  # numbers tried where the system keeps no list


def list_cameras(system: Path = _SYSTEM, devices: Path = Path("/dev")) -> list[str]:
    """Return a line for each camera: what to pass to --source, its name, what is wrong with it."""
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


PICAMERA = "picamera2"
DEFAULT_SIZE = (640, 480)


class PiCapture:
    """The part of `cv2.VideoCapture` a live source needs, over a Picamera2 that was started."""

    def __init__(self, camera: Any) -> None:
        self._camera = camera

    def read(self) -> tuple[bool, Any]:
        """Wait for a frame: (True, (H, W, 3) uint8 BGR)."""
        return True, self._camera.capture_array("main")

    def release(self) -> None:
        """Stop the camera and give it back."""
        self._camera.stop()
        self._camera.close()


def open_picamera(number: int, wish: Wish) -> PiCapture:
    """Start a camera by its number.

    Raises MissingDependencyError without picamera2, SourceError when the camera does not start.
    """
    camera_class = _library()
    try:
        camera = camera_class(number)
        # picamera2 names formats by the order in a register: its RGB888 is BGR in memory.
        main = {"format": "RGB888", "size": wish.size or DEFAULT_SIZE}
        controls = {} if wish.rate is None else {"FrameRate": wish.rate}
        camera.configure(camera.create_video_configuration(main=main, controls=controls))
        camera.start()
    except (RuntimeError, IndexError, OSError) as error:
        raise SourceError(
            f"{PICAMERA}:{number} does not start ({error}); check the ribbon cable, and "
            "`lmedge camera --list`"
        ) from error
    return PiCapture(camera)


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
