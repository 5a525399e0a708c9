"""The window on the screen."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time

import cv2

from lmedge.errors import LmedgeError

from .frames import Source
from .recorded import PictureSource
from .sinks import Result

TITLE = "lmedge"
QUIT_KEYS = frozenset({ord("q"), ord("Q"), 27})
_SLICE = 50  # milliseconds between looks at the stop flag while a picture stands
_PROBE = "import cv2; cv2.namedWindow('lmedge'); cv2.destroyAllWindows()"
_PROBE_SECONDS = 30.0
_INSTEAD = "use --headless, with --jsonl or --record to keep the results"


class Window:
    """Show annotated frames: live ones as they come, videos at their speed, pictures in turn.

    A folder's pictures stand a second each, a single one until a key is pressed; any key shows
    the next. `q`, Escape or closing the window end the loop.
    """

    def __init__(self, source: Source) -> None:
        """Open the window; raises LmedgeError where there is no display or no window support."""
        check_display()
        # OpenCV's Qt has no fonts of its own and complains about it line by line.
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
        self._source = source
        self._hold = 1.0 / source.rate if source.rate else 0.0
        if isinstance(source, PictureSource) and len(source.paths) == 1:
            self._hold = math.inf
        self._ready = False

    def take(self, result: Result) -> bool:
        """Show a frame; False when the user wants to leave."""
        deadline = time.monotonic() + self._hold - result.prediction.milliseconds / 1000.0
        if not self._ready:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            height, width = result.annotated.shape[:2]
            scale = min(1.0, 1280 / width, 720 / height)
            cv2.resizeWindow(TITLE, max(1, int(width * scale)), max(1, int(height * scale)))
            self._ready = True
        cv2.imshow(TITLE, result.annotated)
        return self._wait(deadline)

    def close(self) -> None:
        """Close the window."""
        if self._ready:
            cv2.destroyAllWindows()

    def _wait(self, deadline: float) -> bool:
        while True:
            left = 1000.0 * (deadline - time.monotonic())
            key = cv2.waitKey(int(max(1.0, min(left, _SLICE)))) & 0xFF
            if key in QUIT_KEYS or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
                return False
            if key != 0xFF or left <= _SLICE or self._source.stopped:
                return True


def check_display() -> None:
    """Raise LmedgeError, saying what to do, unless a window can be opened.

    On Linux another process tries: without a display Qt ends the whole process, with no exception.
    """
    if not sys.platform.startswith("linux"):
        try:
            cv2.namedWindow(TITLE)
            cv2.destroyAllWindows()
        except cv2.error as error:
            raise LmedgeError(f"this OpenCV cannot open windows; {_INSTEAD}") from error
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise LmedgeError(f"there is no display to open a window on; {_INSTEAD}")
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LmedgeError(f"the display does not answer; {_INSTEAD}") from error
    if probe.returncode == 0:
        return
    if "not implemented" in probe.stderr:
        raise LmedgeError(
            "this OpenCV has no windows (opencv-python-headless?); install opencv-python, or "
            f"{_INSTEAD}"
        )
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    raise LmedgeError(f"no window can be opened on display {display}; {_INSTEAD}")
