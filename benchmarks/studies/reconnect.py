"""Behaviour of the camera loop while a network camera is away, and the time until it is back.

    python -m benchmarks.studies.reconnect FILE.tflite

A real HTTP server sends MJPEG at 30 frames a second, dies in the middle of a frame, and returns on
the same port with another resolution.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import cv2
import numpy as np

from lmedge.camera import Absence, FrameResult, open_source, run_camera
from lmedge.classifier import Classifier
from lmedge.report.csv_files import write_csv

from .common import PATH, out_option, run_study

_INTERVAL = 1 / 30
_SIZES = ((480, 640), (720, 1280))  # height, width: before and after


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconnect:
    """One outage; seconds from the death of the server, and from its return.

    `frames_away` are frames that came while there was no server, beyond those already under way;
    `repeated` and `partial` frames that were given twice, or not as they were sent.
    """

    outage_seconds: float
    told_seconds: float
    back_seconds: float
    frames_away: int
    repeated: int
    partial: int
    frames_before: int
    frames_after: int


class Server(ThreadingHTTPServer):
    """Server that sends one JPEG again and again until it dies."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, size: tuple[int, int]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        self.jpeg = cv2.imencode(".jpg", image)[1].tobytes()
        self.dying = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def die(self) -> None:
        """Stop in the middle of a frame."""
        self.dying.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore viewers that leave."""


class Handler(BaseHTTPRequestHandler):
    """Handler that sends the stream on every request."""

    server: Server

    def do_GET(self) -> None:
        """Send frames until the server dies."""
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        jpeg = self.server.jpeg
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        while not self.server.dying.wait(_INTERVAL):
            self.wfile.write(head.encode() + jpeg + b"\r\n")
        self.wfile.write(head.encode() + jpeg[: len(jpeg) // 2])

    def log_message(self, format: str, *values: object) -> None:
        """Keep the terminal quiet."""


class Notes:
    """A sink that notes frames and absences with their time."""

    def __init__(self) -> None:
        self.frames: list[tuple[float, int, tuple[int, ...]]] = []  # time, index, shape
        self.absences: list[float] = []
        self.partial = 0
        self._whole: dict[tuple[int, ...], int] = {}

    def take(self, result: FrameResult) -> bool:
        """Note a frame; every frame of one size was sent alike."""
        image = result.frame.image
        checksum = hash(image.tobytes())
        self.partial += self._whole.setdefault(image.shape, checksum) != checksum
        self.frames.append((time.monotonic(), result.frame.index, image.shape))
        return True

    def absent(self, absence: Absence) -> bool:
        """Note that there is no frame."""
        self.absences.append(time.monotonic())
        return True

    def close(self) -> None:
        """Do nothing."""


def outage(classifier: Classifier, seconds: float) -> Reconnect:
    """Let the server be away for so long."""
    notes = Notes()
    server = Server(0, _SIZES[0])
    port = server.server_port
    with open_source(f"http://127.0.0.1:{port}/stream.mjpg") as source:
        loop = threading.Thread(target=run_camera, args=(classifier, source, [notes]))
        loop.start()
        time.sleep(2.0)
        died = time.monotonic()
        server.die()
        time.sleep(seconds)
        returned = time.monotonic()
        server = Server(port, _SIZES[1])
        while not any(at > returned for at, _, _ in notes.frames):
            time.sleep(0.02)
        time.sleep(2.0)
        source.stop()
        loop.join()
    server.die()
    indices = [index for _, index, _ in notes.frames]
    after = [at for at, _, _ in notes.frames if at > returned]
    return Reconnect(
        outage_seconds=seconds,
        told_seconds=min(notes.absences) - died,
        back_seconds=min(after) - returned,
        frames_away=sum(died + 0.5 < at <= returned for at, _, _ in notes.frames),
        repeated=len(indices) - len(set(indices)),
        partial=notes.partial,
        frames_before=sum(at <= died for at, _, _ in notes.frames),
        frames_after=len(after),
    )


@click.command()
@click.argument("file", type=PATH, metavar="FILE.tflite")
@click.option(
    "--outage",
    "outages",
    type=click.FloatRange(2),
    multiple=True,
    default=(3, 10, 30),
    show_default=True,
    help="Seconds; may be repeated.",
)
@out_option("reconnect.csv")
def main(file: Path, outages: tuple[float, ...], out: Path) -> None:
    """Let a network camera die and return."""
    classifier = Classifier(file)
    rows = []
    for seconds in outages:
        row = outage(classifier, seconds)
        click.echo(
            f"away for {seconds:g} s: noticed after {row.told_seconds:.1f} s, back "
            f"{row.back_seconds:.1f} s after its return; {row.frames_away} frames meanwhile, "
            f"{row.repeated} repeated, {row.partial} partial"
        )
        rows.append(row)
    write_csv(out, rows, data=f"{file.name}; MJPEG over HTTP, 640 x 480, then 1280 x 720")
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
