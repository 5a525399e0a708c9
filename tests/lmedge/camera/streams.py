"""Streams to test with: a video file, a capture under the test's control, an MJPEG server."""

from __future__ import annotations

import contextlib
import itertools
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.tiny_file import image


def bgr(landmark: str, height: int = 240, width: int = 320) -> np.ndarray:
    return np.ascontiguousarray(image(landmark, height, width)[..., ::-1])


def write_video(
    path: Path, frames: Sequence[np.ndarray], rate: float = 20.0, codec: str = "mp4v"
) -> Path:
    height, width = frames[0].shape[:2] if frames else (240, 320)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def count_frames(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


class Numbered:
    """A capture whose frames carry their number; it fails after `last`, if given."""

    def __init__(self, last: int | None = None, interval: float = 0.002) -> None:
        self.reads = 0
        self.released = threading.Event()
        self._last = last
        self._interval = interval

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(self._interval)
        if self._last is not None and self.reads >= self._last:
            return False, None
        frame = np.full((8, 8, 3), self.reads, np.int64).astype(np.uint8)
        frame[0, 0, 0], frame[0, 0, 1] = divmod(self.reads, 256)
        self.reads += 1
        return True, frame

    def release(self) -> None:
        self.released.set()

    @staticmethod
    def number(frame: np.ndarray) -> int:
        return 256 * int(frame[0, 0, 0]) + int(frame[0, 0, 1])


class MjpegServer:
    """A real stream of about 50 frames a second, which can die and return on the same port.

    It can also hang: the connection stays, and nothing comes.
    """

    def __init__(self, landmark: str = "green", height: int = 240, width: int = 320) -> None:
        self.port = 0
        self._server: _Server | None = None
        self.start(landmark, height, width)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/stream.mjpg"

    def start(self, landmark: str = "green", height: int = 240, width: int = 320) -> None:
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        # Noise: of a plain image one could not see that its lower part is missing.
        noise = np.random.default_rng(0).integers(0, 80, (height, width, 3), np.uint8)
        image = cv2.absdiff(bgr(landmark, height, width), noise)
        self._server.frame = cv2.imencode(".jpg", image)[1].tobytes()
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def hang(self, hangs: bool = True) -> None:
        """Keep the connections and send nothing, or go on."""
        assert self._server is not None
        (self._server.hangs.set if hangs else self._server.hangs.clear)()

    def die(self) -> None:
        """Close everything in the middle of a frame."""
        if self._server is None:
            return
        self._server.stop.set()
        self._server.shutdown()
        self._server.server_close()
        while self._server.serving:
            time.sleep(0.01)
        self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    frame: bytes

    def __init__(self, *arguments: object) -> None:
        self.stop = threading.Event()
        self.hangs = threading.Event()
        self.serving = 0
        super().__init__(*arguments)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        """A viewer that leaves is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        frame = self.server.frame
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame)}\r\n\r\n"
        self.server.serving += 1
        try:
            while not self.server.stop.wait(0.02):
                if self.server.hangs.is_set():
                    continue
                self.wfile.write(head.encode() + frame + b"\r\n")
            self.wfile.write(head.encode() + frame[: 2 * len(frame) // 3])
        finally:
            self.server.serving -= 1

    def log_message(self, *_: object) -> None:
        """Keep the test's output quiet."""


@contextlib.contextmanager
def mjpeg_server(landmark: str = "green") -> Iterator[MjpegServer]:
    server = MjpegServer(landmark)
    try:
        yield server
    finally:
        server.die()


class Connection:
    """What a script of `scripted_server` sees of one viewer."""

    def __init__(self, handler: socketserver.StreamRequestHandler, number: int) -> None:
        self.number = number
        self.request = b""
        while (line := handler.rfile.readline()).strip():
            self.request += line
        self._write = handler.wfile.write

    def write(self, data: bytes) -> None:
        self._write(data)

    def answer(self, kind: str, *headers: str, status: str = "200 OK") -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *headers, "Connection: close"]
        self.write("\r\n".join([*lines, "", ""]).encode())


@contextlib.contextmanager
def scripted_server(
    script: Callable[[Connection], None], tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """A server on loopback that runs `script` for each viewer; gives its host and port."""
    numbers = itertools.count()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                script(Connection(self, next(numbers)))

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

        def finish_request(self, request: Any, client_address: Any) -> None:
            if tls is None:
                super().finish_request(request, client_address)
                return
            with contextlib.suppress(OSError), tls.wrap_socket(request, server_side=True) as inner:
                super().finish_request(inner, client_address)

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def numbered_jpeg(number: int, height: int = 120, width: int = 160) -> bytes:
    """A JPEG with detail whose number its mean colour gives, see `number_of`."""
    noise = np.random.default_rng(0).integers(0, 40, (height, width, 3), np.uint8)
    image = noise + np.uint8(8 * number)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def number_of(image: np.ndarray) -> int:
    """Return the number of an image that `numbered_jpeg` made; each of its rows must have it."""
    rows = {round((float(row.mean()) - 19.5) / 8) for row in np.array_split(image, 6)}
    assert len(rows) == 1, f"a part of the image is invented: {rows}"
    return rows.pop()
