"""`--preview`: a page with the live image, labels and figures, for machines without a screen."""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import LmedgeError, MissingDependencyError
from ..harmless import harmless, harmless_values
from .frames import Absence, BgrImage
from .overlay import notice
from .sinks import FrameResult, result_as_json

LONGEST = 960  # pixels of the longer side: enough for a phone, little to encode
MAX_RATE = 15.0  # images a second that are encoded, however many watch
_QUALITY = 80
_WORKERS = 8  # requests answered at once; each is short, the page asks again
_PAGE = Path(__file__).with_name("preview.html")
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline'; img-src blob:",
}


class Preview:
    """Serve the newest result to browsers.

    The loop only leaves a reference here. If a browser requests an image newer than its last, the
    newest is scaled and encoded, once for all browsers and at most MAX_RATE times a second. A slow
    browser requests less often, and only that browser loses frames.
    """

    def __init__(self, host: str, port: int, token: str | None = None) -> None:
        """Listen at once.

        Args:
            host: Address to listen on; any but this machine's own needs a token.
            port: Port to listen on; 0 takes a free one.
            token: Secret that a browser must send; None asks for none.

        Raises:
            LmedgeError: The address is in use, or needs a token.
            MissingDependencyError: bottle or waitress is not installed.
        """
        check_token(host, port, token)
        bottle, waitress = _libraries()
        self._lock = threading.Lock()
        self._result: FrameResult | None = None
        self._message: str | None = None
        self._number = 0  # of what there is to see
        self._encoded: tuple[int, bytes, str] = (0, b"", "{}")
        self._encoded_at = 0.0
        application = _application(bottle, self, token, only_own=token is None)
        self._loop = waitress.wasyncore
        self._sockets: dict[int, Any] = {}
        self._closing = threading.Event()
        try:
            self._server = waitress.create_server(
                application, map=self._sockets, host=host, port=port, threads=_WORKERS, ident=None
            )
        except (OSError, ValueError) as error:
            self._loop.close_all(self._sockets)
            reason = getattr(error, "strerror", None) or error
            raise LmedgeError(
                f"--preview {host}:{port}: cannot listen there ({reason}); choose another port"
            ) from error
        self.port = int(self._server.effective_port)
        shown = f"[{host}]" if ":" in host else host
        query = "" if token is None else f"?token={urllib.parse.quote(token)}"
        self.url = f"http://{shown}:{self.port}/{query}"
        self._thread = threading.Thread(target=self._serve, name="preview", daemon=True)
        self._thread.start()

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
        self._closing.set()
        self._server.pull_trigger()
        self._thread.join()

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

    def _serve(self) -> None:
        while not self._closing.is_set():
            self._loop.loop(timeout=1.0, map=self._sockets, count=1)
        self._server.task_dispatcher.shutdown()
        self._loop.close_all(self._sockets, ignore_all=True)


def check_token(host: str, port: int, token: str | None) -> None:
    """Raise LmedgeError if other machines can reach the address and there is no token."""
    if token is None and not is_own(host):
        raise LmedgeError(
            f"--preview {host}:{port} can be reached from other machines: add --token with a "
            "word of your own, or use 127.0.0.1"
        )


def is_own(host: str) -> bool:
    """Return True if `host` can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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


def _application(bottle: Any, preview: Preview, token: str | None, only_own: bool) -> Any:
    """Build the pages: `/` and `/newest?after=N`."""
    application = bottle.Bottle()

    def check() -> None:
        request = bottle.request
        if token is not None:
            bearer = request.get_header("Authorization", "").removeprefix("Bearer ")
            given = request.query.getunicode("token") or bearer
            if not hmac.compare_digest(given.encode(), token.encode()):
                raise bottle.HTTPResponse("token missing or wrong\n", 403)
        elif only_own:
            # A page elsewhere may give its own name the address 127.0.0.1.
            name = request.get_header("Host", "").rpartition(":")[0].strip("[]")
            if not is_own(name or request.get_header("Host", "")):
                raise bottle.HTTPResponse("ask for 127.0.0.1\n", 403)

    def protect() -> None:
        for name, value in _HEADERS.items():
            bottle.response.set_header(name, value)

    def newest() -> Any:
        after = bottle.request.query.get("after", "0")
        found = preview.newest(int(after) if after.isdigit() and len(after) < 16 else 0)
        if found is None:
            return bottle.HTTPResponse(status=204)
        number, jpeg, figures = found
        bottle.response.content_type = "image/jpeg"
        bottle.response.set_header("X-Number", str(number))
        bottle.response.set_header("X-Figures", figures)
        return jpeg

    application.add_hook("before_request", check)
    application.add_hook("after_request", protect)
    application.route("/", callback=lambda: _PAGE.read_text("utf-8"))
    application.route("/newest", callback=newest)
    return application


def _libraries() -> tuple[Any, Any]:
    try:
        import bottle
        import waitress.wasyncore
    except ImportError as error:
        raise MissingDependencyError(
            f"the preview needs {error.name}: run `pip install 'lmedge[camera]'`"
        ) from error
    logging.getLogger("waitress").setLevel(logging.ERROR)  # by default it logs every slow moment
    return bottle, waitress
