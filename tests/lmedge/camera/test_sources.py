from __future__ import annotations

import itertools
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from lmedge.camera import LiveSource, PictureSource, VideoSource, open_source
from lmedge.camera.capture import without_password
from lmedge.errors import SourceError

from .streams import bgr, mjpeg_server, write_video


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
        assert abs(float(frame.picture.mean()) - float(drawn.mean())) < 6
    assert source.dropped == source.skipped == 0


def test_videos_and_pictures_give_bgr(tmp_path: Path) -> None:
    red = bgr("red")
    assert red[0, 0].tolist() == [0, 0, 255]
    cv2.imwrite(str(tmp_path / "red.png"), red)
    write_video(tmp_path / "red.mp4", [red] * 3)
    for name in ("red.png", "red.mp4"):
        with open_source(tmp_path / name) as source:
            picture = next(iter(source)).picture
        assert picture.dtype == np.uint8 and picture.flags.c_contiguous
        assert picture.shape == (240, 320, 3)
        assert picture[100, 100, 2] > 200 and picture[100, 100, 0] < 60


def test_a_folder_is_sorted_and_broken_pictures_are_named_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("b.jpg", "a one.png", "inner/ç.jpg", ".hidden.jpg"):
        tmp_path.joinpath(name).write_bytes(cv2.imencode(Path(name).suffix, bgr("blue"))[1])
    whole = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[:200])
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "notes.txt").write_text("left out")
    with caplog.at_level(logging.WARNING), open_source(tmp_path) as source:
        assert isinstance(source, PictureSource)
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
    (tmp_path / "text.png").write_text("no picture")
    cases = {
        "text.mp4": "not a video",
        "empty.mp4": "empty file",
        "absent.mp4": "No such file",
        "folder": "holds no pictures",
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
    assert without_password("http://a:b@host:80/x?y=1") == "http://host:80/x?y=1"
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


def test_a_recorded_source_ends_when_it_is_stopped(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", moving(10))
    with open_source(video) as source:
        seen = 0
        for _ in source:
            seen += 1
            source.stop()
    assert seen == 1


def test_an_mjpeg_server_is_a_live_source_until_it_stops() -> None:
    with mjpeg_server() as (url, end), open_source(url, patience=1.0) as source:
        assert isinstance(source, LiveSource) and source.live and source.rate is None
        frames = iter(source)
        seen = [next(frames) for _ in range(10)]
        assert seen[0].picture.shape == (240, 320, 3)
        assert seen[0].picture[120, 160].argmax() == 1  # green
        assert all(a.seconds < b.seconds for a, b in itertools.pairwise(seen))
        end.set()
        with pytest.raises(SourceError, match="stopped delivering"):
            for frame in frames:
                seen.append(frame)
    assert len({frame.index for frame in seen}) == len(seen)
