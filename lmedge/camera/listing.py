"""`lmedge camera --list`: which cameras are there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lmedge.errors import SourceError

from .capture import open_device
from .picamera import list_picameras

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
        # A camera may have more than one node; only the first, index 0, gives pictures.
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
