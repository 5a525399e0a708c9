"""`--preview`: a page with the live image, labels and figures, for machines without a screen."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..harmless import harmless, harmless_values
from .frames import Absence, BgrImage
from .overlay import notice
from .preview_pages import PreviewPages
from .preview_server import BODY_BYTES, open_server
from .preview_token import check_token, find_token, shown_address
from .sinks import FrameResult, result_as_json

if TYPE_CHECKING:
    from .teacher import Teacher

LONGEST = 960  # pixels of the longer side: enough for a phone, little to encode
MAX_RATE = 15.0  # images a second that are encoded, however many watch
_QUALITY = 80
_NAMES_BYTES = 4096  # of a request that names a burst


class Preview:
    """Serve the newest result to browsers.

    The loop only leaves a reference here. If a browser requests an image newer than its last, the
    newest is scaled and encoded, once for all browsers and at most MAX_RATE times a second. A slow
    browser requests less often, and only that browser loses frames.
    """

    def __init__(
        self, host: str, port: int, token: str | None = None, *, teacher: Teacher | None = None
    ) -> None:
        """Listen at once.

        Args:
            host: Address to listen on.
            port: Port to listen on; 0 takes a free one.
            token: Secret that a browser must send. None asks for none on this machine's own
                addresses; for others, and with a teacher, it takes the one of `find_token`.
            teacher: Gives the page the buttons of `--teach`.

        Raises:
            LmedgeError: The address is in use, or the token is too short.
            MissingDependencyError: waitress is not installed.
        """
        always = teacher is not None
        self.token = find_token(host, always=always) if token is None else check_token(token)
        self._lock = threading.Lock()
        self._result: FrameResult | None = None
        self._message: str | None = None
        self._number = 0  # of what there is to see
        self._encoded: tuple[int, bytes, str] = (0, b"", "{}")
        self._encoded_at = 0.0
        pages = PreviewPages(self.newest, self.token, teacher)
        body = BODY_BYTES if teacher is None else _NAMES_BYTES
        self._server = open_server(pages, host, port, option="--preview", body_bytes=body)
        self.port = self._server.port
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"
        query = "" if self.token is None else f"?token={urllib.parse.quote(self.token)}"
        self.url = self.address + query

    def shown(self) -> str:
        """Return the address for people: with its token on a terminal, never in a log."""
        return shown_address(self.address, self.token)

    def take(self, result: FrameResult) -> bool:
        """Keep the newest result."""
        with self._lock:
            self._result, self._message = result, None
            self._number += 1
        return True

    def absent(self, absence: Absence) -> bool:
        """Keep the message in place of an image."""
        with self._lock:
            if absence.message != self._message:
                self._message = absence.message
                self._number += 1
        return True

    def close(self) -> None:
        """Stop listening and drop every connection."""
        self._server.close()

    def newest(self, after: int) -> tuple[int, bytes, str] | None:
        """Return number, JPEG and figures as JSON of the newest image, None unless above `after`.

        The threads of the server call this.
        """
        with self._lock:
            number, encoded_at = self._number, self._encoded_at
            result, message = self._result, self._message
            due = number > self._encoded[0] and time.monotonic() - encoded_at >= 1.0 / MAX_RATE
            if not due:
                return self._encoded if self._encoded[0] > after else None
            self._encoded_at = time.monotonic()  # claimed: the others answer with the one before
        image, figures = _render(result, message)
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
        with self._lock:
            if number > self._encoded[0]:
                self._encoded = (number, jpeg, figures)
            return self._encoded


def _render(result: FrameResult | None, message: str | None) -> tuple[BgrImage, str]:
    image = np.zeros((480, 640, 3), np.uint8) if result is None else result.frame.image
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if message is not None:
        return notice(message, *size), json.dumps({"message": harmless(message)})
    if result is None:
        return notice("waiting for the first frame", *size), "{}"
    if scale < 1.0:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    rate = result.frames_per_second
    shown = None if rate is None else round(rate, 1)
    figures = harmless_values({**json.loads(result_as_json(result)), "rate": shown})
    return image, json.dumps(figures)  # without the overlay: the page itself has the labels
