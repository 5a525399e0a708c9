"""Streams to test with: a video file, a capture under the test's control, an MJPEG server."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

from tests.tiny_file import picture


def bgr(landmark: str, height: int = 240, width: int = 320) -> np.ndarray:
    return np.ascontiguousarray(picture(landmark, height, width)[..., ::-1])


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


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    stop: threading.Event
    frames: list[bytes]

    def handle_error(self, request: object, client_address: object) -> None:
        """A viewer that leaves is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        number = 0
        while not self.server.stop.wait(0.02):
            encoded = self.server.frames[number % len(self.server.frames)]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(encoded)}\r\n\r\n"
            self.wfile.write(head.encode() + encoded + b"\r\n")
            number += 1

    def log_message(self, *_: object) -> None:
        """Keep the test's output quiet."""


@contextlib.contextmanager
def mjpeg_server(landmark: str = "green") -> Iterator[tuple[str, threading.Event]]:
    """Give the URL of a real stream of about 50 frames a second, and the event that ends it."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.stop = threading.Event()
    server.frames = [cv2.imencode(".jpg", bgr(landmark))[1].tobytes()]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/stream.mjpg", server.stop
    finally:
        server.stop.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
