"""The window on the screen."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import cv2

from ..errors import LmedgeError
from ..files import write_bytes
from ..processes import child_environment, python_command
from .choice import Choice
from .frames import Absence, BgrImage, FrameSource
from .overlay import notice, with_lines
from .sinks import FrameResult
from .sources import ImageSource

if TYPE_CHECKING:
    from .teacher import Teacher
    from .window_teach import TeachKeys

_log = logging.getLogger(__name__)

TITLE = "lmedge"
CLOSED = 0x100  # beyond all keys
QUIT_KEYS = frozenset({ord("q"), ord("Q"), 27, CLOSED})
NO_KEY = 0xFF
_SLICE = 50  # milliseconds between looks at the stop flag while an image stands
_PROBE = "import cv2; cv2.namedWindow('lmedge'); cv2.destroyAllWindows()"
_PROBE_SECONDS = 30.0
_INSTEAD = "use --headless, with --preview to see the image in a browser, --jsonl or --record"


class Window:
    """Show annotated frames: live ones as they come, videos at their speed, images in turn.

    Each image of a folder stands for a second, a single image until a key is pressed. `q`, Escape
    or closing the window end the loop, and space pauses it. `s` saves the shown image to the
    working folder, `o` toggles the overlay, 1 to 9 choose a file or a thread count if there is a
    `choice`, and any other key shows the next image. With a `teacher`, `t` and `u` are the keys of
    its lessons, and while a name is typed all keys are letters of it.
    """

    def __init__(
        self, source: FrameSource, choice: Choice | None = None, teacher: Teacher | None = None
    ) -> None:
        """Open the window. Raises LmedgeError without a display or window support."""
        require_display()
        # OpenCV's Qt has no fonts of its own and complains about it line by line.
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
        self._source, self._choice = source, choice
        self._teach: TeachKeys | None = None
        if teacher is not None:
            from .window_teach import TeachKeys

            self._teach = TeachKeys(teacher)
        self._hold = 1.0 / source.rate if source.rate else 0.0
        if isinstance(source, ImageSource) and len(source.paths) == 1:
            self._hold = math.inf
        self._ready = self._plain = self._paused = False
        self._size = (640, 480)  # width, height of the last frame
        self._shown: BgrImage | None = None

    def take(self, result: FrameResult) -> bool:
        """Show a frame; return False if the user leaves."""
        deadline = time.monotonic() + self._hold - result.prediction.milliseconds / 1000.0
        self._show(result)
        while True:
            left = 1000.0 * (deadline - time.monotonic())
            key = self._key(left)
            acted = self._teach is not None and self._teach.press(key)
            if key in QUIT_KEYS and not acted:
                return False
            acted = acted or self._act(key, result)
            if self._source.stopped:
                return True
            if self._paused:
                continue
            if left <= _SLICE or (key != NO_KEY and not acted):
                return True

    def absent(self, absence: Absence) -> bool:
        """Show a notice in place of a frame; return False if the user leaves."""
        self._draw(notice(absence.message, *self._size))
        key = self._key(1.0)
        acted = self._teach is not None and self._teach.press(key)
        return acted or key not in QUIT_KEYS

    def close(self) -> None:
        """Close the window."""
        if self._ready:
            cv2.destroyAllWindows()

    def _show(self, result: FrameResult) -> None:
        image = result.frame.image
        self._size = (image.shape[1], image.shape[0])
        shown = image if self._plain else result.annotated
        lines = [] if self._teach is None else self._teach.lines()
        self._draw(with_lines(shown, lines) if lines else shown)

    def _draw(self, image: BgrImage) -> None:
        if not self._ready:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            height, width = image.shape[:2]
            scale = min(1.0, 1280 / width, 720 / height)
            cv2.resizeWindow(TITLE, max(1, int(width * scale)), max(1, int(height * scale)))
            self._ready = True
        cv2.imshow(TITLE, image)
        self._shown = image

    def _key(self, milliseconds: float) -> int:
        """Wait for a key, a slice at most so that the stop flag is seen; a closed window quits."""
        key = cv2.waitKey(int(max(1.0, min(milliseconds, _SLICE)))) & 0xFF
        if cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            return CLOSED
        return key

    def _act(self, key: int, result: FrameResult) -> bool:
        """Act on a key; return False if the key has no meaning."""
        if key == ord(" "):
            self._paused = not self._paused
        elif key == ord("o"):
            self._plain = not self._plain
            self._show(result)
        elif key == ord("s"):
            self._save()
        elif self._choice is not None and ord("1") <= key <= ord("9"):
            _log.info("%s", self._choice.choose(key - ord("0")))
        else:
            return False
        return True

    def _save(self) -> None:
        name = (
            f"lmedge-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() // 1_000_000 % 1000:03d}.png"
        )
        encoded = cv2.imencode(".png", self._shown)[1] if self._shown is not None else None
        if encoded is not None:
            write_bytes(name, encoded.tobytes())
            _log.info("wrote %s", name)


def require_display() -> None:
    """Raise LmedgeError with the next step unless a window can be opened.

    On Linux another process tries, since without a display Qt ends the whole process.
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
            python_command("-c", _PROBE),
            env=child_environment(),
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
