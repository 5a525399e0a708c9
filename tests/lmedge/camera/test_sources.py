from __future__ import annotations

import itertools
import logging
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import cv2
import numpy as np
import pytest

from lmedge.camera import (
    Absence,
    Frame,
    FrameView,
    ImageSource,
    LiveSource,
    VideoSource,
    open_source,
)
from lmedge.camera.cameras import find_cameras
from lmedge.camera.capture import CaptureOptions
from lmedge.commands.packages import LEAST_OPENCV
from lmedge.errors import CameraLostError, LmedgeError, MissingDependencyError, SourceError
from tests.lmedge.camera.streams import Numbered, bgr, mjpeg_server, write_video
from tests.locations import ROOT


def moving(count: int) -> list[np.ndarray]:
    return [np.full((120, 160, 3), (5 * i) % 250, np.uint8) for i in range(count)]


def test_a_video_is_read_frame_by_frame_to_its_end(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a walk é.mp4", moving(45), rate=20.0)
    with open_source(video) as source:
        assert isinstance(source, VideoSource)
        assert source.rate == pytest.approx(20.0)
        assert source.sequence and not source.live
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(45))
    assert [frame.seconds for frame in frames] == pytest.approx([i / 20 for i in range(45)])
    for frame, drawn in zip(frames, moving(45), strict=True):
        assert abs(float(frame.image.mean()) - float(drawn.mean())) < 6
    assert source.dropped == source.skipped == 0


def test_videos_and_images_give_bgr(tmp_path: Path) -> None:
    red = bgr("red")
    assert red[0, 0].tolist() == [0, 0, 255]
    cv2.imwrite(str(tmp_path / "red.png"), red)
    write_video(tmp_path / "red.mp4", [red] * 3)
    for name in ("red.png", "red.mp4"):
        with open_source(tmp_path / name) as source:
            image = next(iter(source)).image
        assert image.dtype == np.uint8 and image.flags.c_contiguous
        assert image.shape == (240, 320, 3)
        assert image[100, 100, 2] > 200 and image[100, 100, 0] < 60


def test_a_folder_is_sorted_and_broken_images_are_named_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("b.jpg", "a one.png", "inner/ç.jpg", ".hidden.jpg"):
        tmp_path.joinpath(name).write_bytes(cv2.imencode(Path(name).suffix, bgr("blue"))[1])
    whole = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[:200])
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "notes.txt").write_text("left out")
    with caplog.at_level(logging.WARNING), open_source(tmp_path) as source:
        assert isinstance(source, ImageSource)
        frames = list(source)
    assert not source.sequence
    assert [frame.name for frame in frames] == ["a one.png", "b.jpg", "inner/ç.jpg"]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert source.skipped == 2
    assert "cut.jpg" in caplog.text and "text.jpg" in caplog.text


def test_what_does_not_open_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video at all\n" * 100)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.png").write_text("no image")
    cases = {
        "text.mp4": "not a video",
        "empty.mp4": "empty file",
        "absent.mp4": "No such file",
        "folder": "holds no images",
    }
    for name, reason in cases.items():
        with pytest.raises(SourceError, match=reason) as caught:
            open_source(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)
    with (
        open_source(tmp_path / "text.png") as source,
        pytest.raises(SourceError, match=r"text\.png"),
    ):
        list(source)


@pytest.mark.parametrize("device", [63, "63", "/dev/video63", "123456"])
def test_a_camera_that_is_absent(device: int | str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceError, match="does not open") as caught:
        open_source(device)
    assert str(device) in str(caught.value)
    assert capfd.readouterr().err == ""  # OpenCV's own lines are kept away


def test_an_address_that_does_not_answer_tells_why_and_no_password() -> None:
    with pytest.raises(SourceError, match=r"no connection to 127\.0\.0\.1:9") as caught:
        open_source("rtsp://someone:secret@127.0.0.1:9/live")
    assert "secret" not in str(caught.value)
    with pytest.raises(SourceError, match="ftp:// is not supported"):
        open_source("ftp://host/video.mp4")
    with pytest.raises(SourceError, match="port"):
        open_source("http://127.0.0.1:99999/")


def test_a_video_without_frames(tmp_path: Path) -> None:
    video = write_video(tmp_path / "none.avi", [], codec="MJPG")
    with pytest.raises(SourceError, match=r"none\.avi"), open_source(video) as source:
        list(source)


def test_a_video_cut_short_ends_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 120, 160, 3), np.uint8)
    video = write_video(tmp_path / "cut.avi", list(noise), codec="MJPG")
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    with caplog.at_level(logging.WARNING), open_source(video) as source:
        frames = list(source)
    assert 10 <= len(frames) <= 30
    assert "cut.avi: ended after" in caplog.text


def clip(color: tuple[int, int, int], height: int, width: int, path: Path) -> bytes:
    """Twenty frames of a colour as a transport stream, of which several can be put together."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        image = np.full((height, width, 3), color, np.uint8)
        for _ in range(20):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


def test_a_stream_that_changes_its_size_shows_no_old_frames(tmp_path: Path) -> None:
    """OpenCV before 4.13 repeats the last frame of the old size if the new one is larger."""
    green, blue = (0, 200, 0), (200, 0, 0)
    film = clip(green, 120, 200, tmp_path / "a.ts") + clip(blue, 480, 640, tmp_path / "b.ts")
    (tmp_path / "both.ts").write_bytes(film)
    with open_source(tmp_path / "both.ts") as source:
        seen = [int(frame.image.mean((0, 1)).argmax()) for frame in source]
    assert len(seen) >= 38 and seen == sorted(seen, reverse=True)
    assert seen.count(0) >= 19  # blue


def test_the_least_opencv_is_the_one_that_is_tested() -> None:
    needed = re.search(r'"opencv-python>=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    tested = re.search(r"opencv-python==([\d.]+)", (ROOT / "constraints-least.txt").read_text())
    assert needed is not None and tested is not None
    assert tested[1].startswith(f"{needed[1]}.")
    assert tuple(map(int, needed[1].split("."))) == LEAST_OPENCV


def test_a_recorded_source_ends_when_it_is_stopped(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", moving(10))
    with open_source(video) as source:
        seen = 0
        for _ in source:
            seen += 1
            source.stop()
    assert seen == 1


def test_an_mjpeg_server_that_dies_and_returns_at_another_size() -> None:
    with mjpeg_server("green") as server, open_source(server.url) as source:
        assert isinstance(source, LiveSource) and source.live and source.rate is None
        frames = iter(source)
        seen = [next(frames) for _ in range(10)]
        server.die()
        while not isinstance(entry := next(frames), Absence):
            seen.append(entry)
        server.start("blue", 120, 200)
        while isinstance(entry := next(frames), Absence):
            assert "127.0.0.1" in entry.message
        back = [entry, *itertools.islice(frames, 5)]
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise([*seen, *back]))
    assert len({frame.index for frame in [*seen, *back]}) == len(seen) + len(back)
    # Whole frames only: what was cut short is not shown with its lower part invented.
    for frame in seen:
        assert np.array_equal(frame.image, seen[0].image)
    for frame in back:
        assert np.array_equal(frame.image, back[0].image)
    assert seen[0].image.shape == (240, 320, 3) and back[0].image.shape == (120, 200, 3)
    assert seen[0].image.mean((0, 1)).argmax() == 1  # green
    assert back[0].image.mean((0, 1)).argmax() == 0  # blue
    assert source.absences == 1


def test_a_stream_is_given_up_after_the_time_asked_for() -> None:
    with mjpeg_server() as server, open_source(server.url, give_up=2.0) as source:
        frames = iter(source)
        assert isinstance(next(frames), Frame)
        server.die()
        with pytest.raises(CameraLostError, match=r"no frames for \d s.*no connection to 127"):
            for _ in frames:
                pass


def test_turned_mirrored_and_cut(tmp_path: Path) -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[:20, :40] = 255  # white at the upper left
    cv2.imwrite(str(tmp_path / "a.png"), image)

    def corners(view: FrameView) -> tuple[tuple[int, ...], list[bool]]:
        with open_source(tmp_path / "a.png", view=view) as source:
            seen = next(iter(source)).image
        return seen.shape[:2], [bool(seen[y, x, 0]) for y in (0, -1) for x in (0, -1)]

    assert corners(FrameView()) == ((40, 80), [True, False, False, False])
    assert corners(FrameView(rotate=90)) == ((80, 40), [False, True, False, False])
    assert corners(FrameView(rotate=180)) == ((40, 80), [False, False, False, True])
    assert corners(FrameView(mirror=True)) == ((40, 80), [False, True, False, False])
    assert corners(FrameView(rotate=90, mirror=True)) == ((80, 40), [True, False, False, False])
    assert corners(FrameView(roi=(0.5, 0, 0.5, 0.25))) == ((10, 40), [False] * 4)
    assert corners(FrameView(roi=(0.999, 0.999, 0.001, 0.001)))[0] == (1, 1)
    for wrong in ({"rotate": 45}, {"roi": (0.5, 0, 0.6, 1)}, {"roi": (0, 0, 0, 1)}):
        with pytest.raises(LmedgeError, match=next(iter(wrong))):
            FrameView(**wrong)


def test_a_pattern_names_images(tmp_path: Path) -> None:
    for name in ("b 2.jpg", "b 1.jpg", "c.png", "b notes.txt"):
        (tmp_path / name).write_bytes(cv2.imencode(".jpg", bgr("blue"))[1])
    with open_source(str(tmp_path / "b*")) as source:
        assert [frame.name for frame in source] == ["b 1.jpg", "b 2.jpg"]
    with pytest.raises(SourceError, match="names no images"):
        open_source(str(tmp_path / "*.webp"))
    (tmp_path / "[a].jpg").write_bytes((tmp_path / "c.png").read_bytes())
    with open_source(tmp_path / "[a].jpg") as source:
        assert len(list(source)) == 1


def test_a_camera_is_asked_for_size_and_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[int, float] = {}

    class Device(Numbered):
        def isOpened(self) -> bool:  # noqa: N802
            return True

        def get(self, what: int) -> float:
            return asked.get(what, 0.0)

        def set(self, what: int, value: float) -> bool:
            asked[what] = value
            return True

    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: Device())
    with open_source("/dev/video3", options=CaptureOptions(size=(1280, 720), rate=15.0)) as source:
        assert isinstance(next(iter(source)), Frame)
    assert asked[cv2.CAP_PROP_FRAME_WIDTH] == 1280 and asked[cv2.CAP_PROP_FRAME_HEIGHT] == 720
    assert asked[cv2.CAP_PROP_FPS] == 15
    with pytest.raises(SourceError, match="cameras only"):
        open_source("clip.mp4", options=CaptureOptions(rate=5.0))


def test_a_picamera_is_a_live_source(monkeypatch: pytest.MonkeyPatch) -> None:
    class Picamera2:
        """The calls of picamera2's manual that are used; no board is at hand."""

        stopped: ClassVar[list[int]] = []

        def __init__(self, number: int) -> None:
            if number > 1:
                raise IndexError("list index out of range")
            self.number = number

        @staticmethod
        def global_camera_info() -> list[dict[str, object]]:
            return [{"Num": 0, "Model": "imx708"}, {"Num": 1, "Model": "ov5647"}]

        def create_video_configuration(self, main: dict, controls: dict) -> dict:
            return {"main": main, "controls": controls}

        def configure(self, configuration: dict) -> None:
            self.size = configuration["main"]["size"]
            assert configuration["controls"] == {"FrameRate": 10.0}

        def start(self) -> None:
            pass

        def capture_array(self, name: str) -> np.ndarray:
            time.sleep(0.01)
            return np.zeros((self.size[1], self.size[0], 3), np.uint8)

        def stop(self) -> None:
            self.stopped.append(self.number)

        def close(self) -> None:
            pass

    with pytest.raises(MissingDependencyError, match="python3-picamera2"):
        open_source("picamera2")
    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=Picamera2))
    with open_source("picamera2:1", options=CaptureOptions(size=(320, 200), rate=10.0)) as source:
        assert next(iter(source)).image.shape == (200, 320, 3)
    assert Picamera2.stopped == [1]
    with pytest.raises(SourceError, match="picamera2:5 does not start"):
        open_source("picamera2:5")
    with pytest.raises(SourceError, match="leave --format out"):
        open_source("picamera2", options=CaptureOptions(format="MJPG"))
    assert find_cameras(Path("/nowhere"))[-1].lines() == ["picamera2:1  ov5647"]
