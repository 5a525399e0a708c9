"""Motion JPEG as cameras send it: whole frames only, whatever lengths and boundaries there are."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from lmedge.camera import Frame, FrameSource, LiveSource, VideoSource, open_source
from lmedge.camera.mjpeg import JpegSplitter
from lmedge.errors import SourceError
from tests.lmedge.camera.streams import (
    Connection,
    Numbered,
    number_of,
    numbered_jpeg,
    scripted_server,
    write_video,
)

END = b"\xff\xd9"
COUNT = 8
MULTIPART = "multipart/x-mixed-replace;boundary=frame"
# What becomes of a frame on its way. None of these may be seen.
CUTS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda jpeg: jpeg[: len(jpeg) // 2],
    "cut, with an end mark": lambda jpeg: jpeg[: len(jpeg) // 2] + END,
    "cut, then zeros": lambda jpeg: jpeg[: len(jpeg) // 2].ljust(len(jpeg), b"\0"),
    "zeros and an end mark": lambda jpeg: jpeg[: len(jpeg) // 2].ljust(len(jpeg) - 2, b"\0") + END,
    "a hole": lambda jpeg: jpeg[: len(jpeg) // 3] + jpeg[len(jpeg) // 3 + 512 :],
    "its first bytes lost": lambda jpeg: jpeg[300:],
    "cut in its header": lambda jpeg: jpeg[:200],
}
LENGTHS: dict[str, Callable[[bytes, bytes], str]] = {
    "without a length": lambda jpeg, sent: "",
    "with the true length": lambda jpeg, sent: f"Content-Length: {len(sent)}\r\n",
    "with the length of the whole": lambda jpeg, sent: f"Content-Length: {len(jpeg)}\r\n",
    "with a wrong length": lambda jpeg, sent: "Content-Length: 77\r\n",
}


def frames_of(source: FrameSource) -> Iterator[Frame]:
    return (frame for frame in source if isinstance(frame, Frame))


def part(jpeg: bytes, sent: bytes, length: str) -> bytes:
    head = f"--frame\r\nContent-Type: image/jpeg\r\n{LENGTHS[length](jpeg, sent)}\r\n"
    return head.encode() + sent + b"\r\n"


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("cut", CUTS)
def test_cut_frames_of_a_multipart_stream_are_never_seen(cut: str, length: str) -> None:
    def script(viewer: Connection) -> None:
        viewer.answer(MULTIPART)
        for number in itertools.cycle(range(COUNT)):
            jpeg = numbered_jpeg(number)
            viewer.write(part(jpeg, CUTS[cut](jpeg) if number % 2 else jpeg, length))
            time.sleep(0.004)

    with scripted_server(script) as host, open_source(f"http://{host}/") as source:
        assert isinstance(source, LiveSource)
        seen = [number_of(frame.image) for frame in itertools.islice(frames_of(source), 10)]
    assert set(seen) <= {0, 2, 4, 6}
    assert source.damaged >= 3 or cut == "its first bytes lost"  # that is no frame at all
    assert source.absences == 0


@pytest.mark.parametrize("chunk", [1, 7, 1000, 10**6])
def test_a_splitter_gives_the_same_frames_for_any_chunks(chunk: int) -> None:
    whole = [numbered_jpeg(number) for number in range(3)]
    thumbnail = numbered_jpeg(9, 24, 32)
    exif = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole[1] = whole[1][:2] + exif + whole[1][2:]
    stream = b"junk\xff" + whole[0] + b"\0\0\r\n--frame\r\n\r\n" + whole[1] + whole[2]
    splitter, found = JpegSplitter(), []
    for at in range(0, len(stream), chunk):
        splitter.feed(stream[at : at + chunk])
        while (frame := splitter.take()) is not None:
            found.append(frame)
    assert found == whole and splitter.rest() is None


def test_a_stream_without_an_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmedge.camera.mjpeg.MOST_BYTES", 50_000)
    splitter, seen = JpegSplitter(), []
    splitter.feed(numbered_jpeg(1)[:-2])
    for _ in range(100):
        splitter.feed(bytes(10_000))
        while (frame := splitter.take()) is not None:
            seen.append(frame)
        assert len(splitter._bytes) < 100_000
    splitter.feed(numbered_jpeg(2))
    assert splitter.take() == numbered_jpeg(2)


# The first answers of Tasmota's webcam and of older ESP32-CAM firmware, as their sources have them.
BEGINNINGS = {
    "Tasmota": b"",
    "older ESP32-CAM": b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n",
    "a boundary of another name": b"--other\r\nContent-Type: image/jpeg\r\n\r\n",
}


@pytest.mark.parametrize("firmware", BEGINNINGS)
def test_no_boundary_is_needed_before_the_first_image(firmware: str) -> None:
    def script(viewer: Connection) -> None:
        viewer.answer("multipart/x-mixed-replace;boundary=gc0p4Jq0M2Yt08jU534c0p")
        for number in itertools.cycle(range(COUNT)):
            jpeg = numbered_jpeg(number)
            head = BEGINNINGS[firmware]
            viewer.write(head % len(jpeg) if b"%d" in head else head)
            viewer.write(jpeg + b"\r\n--gc0p4Jq0M2Yt08jU534c0p\r\n")
            time.sleep(0.01)

    with scripted_server(script) as host, open_source(f"http://{host}/stream") as source:
        seen = [number_of(frame.image) for frame in itertools.islice(frames_of(source), 6)]
    assert len(set(seen)) > 3 and source.damaged == 0


@pytest.mark.parametrize("kind", ["video/x-motion-jpeg", "image/jpeg", "application/octet-stream"])
def test_raw_motion_jpeg_is_seen_within_a_second(kind: str) -> None:
    def script(viewer: Connection) -> None:
        viewer.answer(kind)
        for number in itertools.cycle(range(COUNT)):
            jpeg = numbered_jpeg(number)
            viewer.write(jpeg[:1000] if number % 4 == 3 else jpeg)
            time.sleep(0.05)

    with scripted_server(script) as host:
        start = time.monotonic()
        with open_source(f"http://{host}/raw") as source:
            frames = frames_of(source)
            seen = [number_of(next(frames).image)]
            assert time.monotonic() - start < 1.0
            seen += [number_of(frame.image) for frame in itertools.islice(frames, 10)]
    assert source.live and source.damaged >= 2 and not set(seen) & {3, 7}


def test_a_motion_jpeg_file_on_a_server_is_read_once() -> None:
    film = b"".join(numbered_jpeg(number) for number in range(COUNT))

    def script(viewer: Connection) -> None:
        viewer.answer("application/octet-stream", f"Content-Length: {len(film)}")
        viewer.write(film)

    with scripted_server(script) as host, open_source(f"http://{host}/film.mjpeg") as source:
        assert isinstance(source, VideoSource)
        assert [number_of(frame.image) for frame in source] == list(range(COUNT))


def test_a_stream_of_damaged_images_alone_says_so() -> None:
    def script(viewer: Connection) -> None:
        viewer.answer(MULTIPART)
        while True:
            viewer.write(part(b"", numbered_jpeg(1)[:3000] + END, "without a length"))
            time.sleep(0.02)

    with scripted_server(script) as host:
        with open_source(f"http://{host}/") as source:
            source._first_frame = 0.5
            with pytest.raises(SourceError, match=r"no frames .*its images arrive damaged"):
                next(frames_of(source))
        assert source.damaged > 3


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mov", "a.mp4", "a.mjpeg", "no suffix"])
def test_damaged_frames_of_a_file_are_left_out(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / name
    images = [cv2.imdecode(np.frombuffer(numbered_jpeg(n), np.uint8), 1) for n in range(COUNT)]
    if path.suffix in {"", ".mjpeg"}:
        path.write_bytes(b"".join(map(numbered_jpeg, range(COUNT))))
    else:
        write_video(path, images, codec="MJPG")
    film = bytearray(path.read_bytes())
    starts = [at for at in range(len(film)) if film[at : at + 3] == b"\xff\xd8\xff"]
    assert len(starts) == COUNT
    for number in (2, 5):
        middle = (starts[number] + starts[number + 1]) // 2
        film[middle : middle + 600] = bytes(600)
    path.write_bytes(film)
    with open_source(path) as source:
        frames = list(frames_of(source))
    assert [number_of(frame.image) for frame in frames] == [0, 1, 3, 4, 6, 7]
    assert [frame.index for frame in frames] == [0, 1, 3, 4, 6, 7]
    rate = 25.0 if path.suffix in {"", ".mjpeg"} else 20.0
    assert [frame.seconds for frame in frames[:2]] == pytest.approx([0, 1 / rate], abs=0.002)
    assert source.damaged == 2
    assert caplog.text.count("arrived damaged") == 1


def test_a_camera_that_sends_jpeg_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Device(Numbered):
        """V4L2 without conversion: a row of bytes, as OpenCV's source has it; none is at hand."""

        converts = True

        def isOpened(self) -> bool:  # noqa: N802
            return True

        def get(self, what: int) -> float:
            assert what == cv2.CAP_PROP_FOURCC
            return float(cv2.VideoWriter.fourcc(*"MJPG"))

        def set(self, what: int, value: float) -> bool:
            if what == cv2.CAP_PROP_CONVERT_RGB:
                self.converts = bool(value)
            return True

        def read(self) -> tuple[bool, np.ndarray | None]:
            assert not self.converts
            super().read()
            jpeg = numbered_jpeg(self.reads % COUNT)
            data = jpeg[:4000] + END if self.reads % 2 else jpeg
            return True, np.frombuffer(data, np.uint8).reshape(1, -1)

    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: Device(interval=0.01))
    with open_source("0") as source:
        seen = [number_of(frame.image) for frame in itertools.islice(frames_of(source), 6)]
    assert set(seen) <= {0, 2, 4, 6} and source.damaged >= 5
