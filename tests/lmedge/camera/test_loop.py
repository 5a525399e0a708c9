from __future__ import annotations

import contextlib
import errno
import io
import itertools
import json
import logging
import resource
import sys
import time
from collections.abc import Container, Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from lmedge import Classifier, LmedgeError
from lmedge.camera import (
    UNSMOOTHED,
    Absence,
    Choice,
    End,
    Frame,
    FrameResult,
    FrameSource,
    JsonLines,
    LabelLines,
    LiveSource,
    Recorder,
    Window,
    open_source,
    run_camera,
)
from lmedge.camera import recorder as recorder_module
from lmedge.camera.teacher import LessonPhase, TeacherState
from lmedge.errors import MissingDependencyError, SourceError
from lmedge.field.store import FREE_BYTES
from tests.lmedge.camera.streams import Numbered, bgr, count_frames, write_video


@pytest.fixture(scope="module")
def classifier(tiny_file: Path) -> Classifier:
    return Classifier(tiny_file)


class Given(FrameSource):
    """Frames of the test's choice; with an error at their end, if given."""

    def __init__(self, images: list[np.ndarray], error: Exception | None = None) -> None:
        super().__init__("given")
        self._images, self._error = images, error

    def __iter__(self) -> Iterator[Frame]:
        for i, image in enumerate(self._images):
            yield Frame(image=image, index=i, seconds=i / 20)
        if self._error:
            raise self._error


class Kept:
    def __init__(self, leave_after: int | None = None) -> None:
        self.results: list[FrameResult] = []
        self.absences: list[Absence] = []
        self.closed = 0
        self._leave_after = leave_after

    def take(self, result: FrameResult) -> bool:
        self.results.append(result)
        return len(self.results) != self._leave_after

    def absent(self, absence: Absence) -> bool:
        self.absences.append(absence)
        return True

    def close(self) -> None:
        self.closed += 1


def test_a_video_is_classified_to_its_end(classifier: Classifier, tmp_path: Path) -> None:
    frames = [bgr(name) for name in ("red", "green", "blue") for _ in range(10)]
    video = write_video(tmp_path / "three.mp4", frames)
    sink = Kept()
    with open_source(video) as source:
        summary = run_camera(classifier, source, [sink], smoothing=UNSMOOTHED)
    assert [result.prediction.landmark for result in sink.results] == (
        ["red"] * 10 + ["green"] * 10 + ["blue"] * 10
    )
    assert summary.frames == 30 and summary.end is End.SOURCE
    assert summary.dropped == summary.skipped == 0
    assert summary.rate == pytest.approx(30 / summary.seconds) and summary.median_ms > 0
    assert sink.closed == 1
    assert sink.results[0].frames_per_second is None
    assert all((result.frames_per_second or 0) > 0 for result in sink.results[1:])


def test_videos_are_smoothed_by_default_and_images_are_not(
    classifier: Classifier, tmp_path: Path
) -> None:
    for i, name in enumerate(("red", "blue")):
        cv2.imwrite(str(tmp_path / f"{i}.png"), bgr(name))
    video = write_video(tmp_path / "two.mp4", [bgr("red")] * 5 + [bgr("blue")])
    labels = {}
    for path in (tmp_path, video):
        sink = Kept()
        with open_source(path) as source:
            run_camera(classifier, source, [sink])
        labels[path] = sink.results[-1].prediction.landmark
    assert labels == {tmp_path: "blue", video: "red"}


def test_the_loop_ends_at_the_limit_on_quit_and_on_stop(classifier: Classifier) -> None:
    source = Given([bgr("red")] * 9)
    assert run_camera(classifier, source, frames=4).frames == 4
    leaving, other = Kept(leave_after=3), Kept()
    summary = run_camera(classifier, Given([bgr("red")] * 9), [leaving, other])
    assert summary.end is End.QUIT and summary.frames == len(other.results) == 3
    with LiveSource("fake", Numbered) as live:
        live.stop()
        assert run_camera(classifier, live).end is End.STOPPED
    with pytest.raises(LmedgeError, match="frames"):
        run_camera(classifier, source, frames=0)


def test_live_drops_are_in_the_summary(classifier: Classifier) -> None:
    class Slow(Kept):
        def take(self, result: FrameResult) -> bool:
            time.sleep(0.02)
            return super().take(result)

    with LiveSource("fake", Numbered) as source:
        summary = run_camera(classifier, source, [Slow()], frames=10)
        assert summary.end is End.LIMIT and summary.frames == 10
        assert summary.dropped > 10


def test_sinks_are_closed_when_the_source_fails(classifier: Classifier, tmp_path: Path) -> None:
    kept, recorder = Kept(), Recorder(tmp_path / "kept.mp4")
    with pytest.raises(SourceError, match="unplugged"):
        run_camera(classifier, Given([bgr("red")] * 7, SourceError("unplugged")), [kept, recorder])
    assert kept.closed == 1
    assert count_frames(tmp_path / "kept.mp4") == 7  # what was recorded is not lost


def test_json_and_label_lines(classifier: Classifier, tmp_path: Path) -> None:
    lines, labels = io.StringIO(), io.StringIO()
    source = Given([bgr("red")] * 3 + [bgr("grey stone")] * 3)
    run_camera(classifier, source, [JsonLines(lines), LabelLines(labels)], smoothing=UNSMOOTHED)
    objects = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert len(objects) == 6
    assert list(objects[0]) == [
        "time",
        "frame",
        "landmark",
        "landmark_probability",
        "category",
        "category_probability",
        "top",
        "known",
        "known_probability",
        "agreement",
        "milliseconds",
    ]
    assert objects[4]["time"] == 0.2 and objects[4]["frame"] == 4
    assert objects[4]["landmark"] == "grey stone" and objects[4]["category"] == "domes"
    assert 0 < objects[4]["landmark_probability"] <= 1
    assert set(objects[0]["top"][0]) == {"landmark", "category", "probability"}
    assert len(labels.getvalue().splitlines()) == 2  # one for each change
    cv2.imwrite(str(tmp_path / "ü.png"), bgr("blue"))
    with open_source(tmp_path / "ü.png") as image:
        run_camera(classifier, image, [JsonLines(lines), LabelLines(labels)])
    assert json.loads(lines.getvalue().splitlines()[-1])["name"] == "ü.png"
    assert labels.getvalue().splitlines()[-1].startswith("ü.png  blue ")


def test_a_recording_has_the_frames_the_rate_and_the_drawing(
    classifier: Classifier, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "in.mp4", [bgr("green", 480, 640)] * 12, rate=12.0)
    target = tmp_path / "out.mp4"
    with open_source(video) as source:
        run_camera(classifier, source, [Recorder(target)])
    assert count_frames(target) == 12
    capture = cv2.VideoCapture(str(target))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12.0)
    frame = capture.read()[1]
    capture.release()
    assert frame.shape == (480, 640, 3)
    panel = np.median(frame[20:120, 20:300, 1])  # its text and bars are the smaller part
    assert panel < 0.6 * np.median(frame[300:, :, 1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_frames_of_another_size_are_letterboxed(classifier: Classifier, tmp_path: Path) -> None:
    target = tmp_path / "mixed.mp4"
    shapes = [(241, 321), (600, 300), (100, 900), (241, 321)]
    source = Given([bgr("green", *shape) for shape in shapes])
    run_camera(classifier, source, [Recorder(target)])
    capture = cv2.VideoCapture(str(target))
    frames = [capture.read()[1] for _ in shapes]
    capture.release()
    assert {frame.shape for frame in frames} == {(240, 320, 3)}
    assert frames[1][120, 160, 1] > 200 and frames[1][120, 20, 1] < 40  # bars at the sides
    assert frames[2][120, 250, 1] > 200 and frames[2][20, 160, 1] < 40  # above and below


def test_a_recording_keeps_the_times_of_the_stream(classifier: Classifier, tmp_path: Path) -> None:
    class Paused(Given):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                later = 5.0 if frame.index >= 10 else 0.0  # the camera was away for five seconds
                yield Frame(image=frame.image, index=frame.index, seconds=frame.seconds + later)

    target = tmp_path / "live.mp4"
    run_camera(classifier, Paused([bgr("red")] * 20), [Recorder(target)])
    capture = cv2.VideoCapture(str(target))
    times = []
    while capture.read()[0]:
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    capture.release()
    wanted = [i / 20 + (5 if i >= 10 else 0) for i in range(20)]
    assert times == pytest.approx(wanted, abs=0.02)


def test_no_frame_no_file_and_an_old_one_stays(classifier: Classifier, tmp_path: Path) -> None:
    old = write_video(tmp_path / "old.mp4", [bgr("red")] * 2)
    recorder = Recorder(old)
    run_camera(classifier, Given([]), [recorder])
    assert recorder.frames == 0 and count_frames(old) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["old.mp4"]


def test_a_recording_that_cannot_be_written(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LmedgeError, match="cannot write"):
        run_camera(classifier, Given([bgr("red")] * 2), [Recorder(tmp_path / "file" / "a.mp4")])
    with pytest.raises(LmedgeError, match=r"cannot write /dev/full: No space"):
        run_camera(classifier, Given([bgr("red")] * 2), [Recorder("/dev/full")])


class Full(io.StringIO):
    """A stream on a disk that is full while some lines are written, counted from 0."""

    def __init__(self, lines: Container[int]) -> None:
        super().__init__()
        self._full, self._count = lines, -1

    def write(self, text: str) -> int:
        self._count += 1
        if self._count in self._full:
            raise OSError(errno.ENOSPC, "No space left on device", "labels.jsonl")
        return super().write(text)


def test_a_sink_that_fails_does_not_end_the_others(
    classifier: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    first, last = Kept(), Kept()
    lines = Full({1, 2, 4})
    with pytest.raises(LmedgeError) as raised:
        run_camera(classifier, Given([bgr("red")] * 6), [first, JsonLines(lines), last])
    line = "cannot write labels.jsonl: No space left on device; free space or choose another folder"
    assert str(raised.value) == line
    assert caplog.messages == [f"{line}; the other outputs go on"] * 2  # once for each outage
    assert len(first.results) == len(last.results) == 6
    assert [json.loads(line)["frame"] for line in lines.getvalue().splitlines()] == [0, 3, 5]
    assert first.closed == last.closed == 1


def test_a_recording_that_fails_is_over_and_the_labels_go_on(
    classifier: Classifier, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    recorder, lines = Recorder(tmp_path / "file" / "a.mp4"), io.StringIO()
    with pytest.raises(LmedgeError, match=r"cannot write .*a\.mp4: "):
        run_camera(classifier, Given([bgr("red")] * 4), [JsonLines(lines), recorder])
    assert len(lines.getvalue().splitlines()) == 4
    assert recorder.frames == 0


# Without a whole fragment the earlier recording stays, of 50 frames too.
@pytest.mark.parametrize(
    ("share", "left"), [(0.0001, 50), (0.2, 50), (0.6, 20), (0.95, 40), (2, 50)]
)
def test_a_recording_that_is_cut_has_whole_fragments(
    classifier: Classifier, tmp_path: Path, share: float, left: int
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 64, 96, 3), np.uint8)
    target = tmp_path / "a.mp4"
    run_camera(classifier, Given(list(noise)), [Recorder(target)])
    limit = max(1, int(share * target.stat().st_size))  # fragments of 20, 20 and 10 frames
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with contextlib.ExitStack() as stack:
            if share < 1:
                stack.enter_context(pytest.raises(LmedgeError, match=r"cannot write .*a\.mp4"))
            run_camera(classifier, Given(list(noise)), [Kept(), Recorder(target)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (count_frames(target) if target.exists() else 0) == left


def test_a_recording_pauses_on_a_full_disk_and_goes_on_in_another_file(
    classifier: Classifier,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limit of a file takes the place of the disk; both are errors of a write."""
    noise = np.random.default_rng(0).integers(0, 256, (240, 64, 96, 3), np.uint8)
    run_camera(classifier, Given(list(noise)), [Recorder(tmp_path / "whole.mp4")])
    whole = (tmp_path / "whole.mp4").stat().st_size
    (tmp_path / "whole.mp4").unlink()
    now, free = 0.0, 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Disk(Given):
        """Full after a while; space is back, first a little and then enough."""

        def __iter__(self) -> Iterator[Frame]:
            nonlocal now, free
            for frame in super().__iter__():
                now = float(frame.index)  # a second a frame
                limit = whole // 4 if frame.index < 100 else before[0]
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
                free = FREE_BYTES if frame.index >= 150 else FREE_BYTES - 1
                yield frame

    def usage(_: Path) -> SimpleNamespace:
        return SimpleNamespace(free=free)

    monkeypatch.setattr(recorder_module.shutil, "disk_usage", usage)
    (tmp_path / "day-2.mp4").write_bytes(b"of somebody else")
    caplog.set_level(logging.INFO, "lmedge")
    kept, recorder = Kept(), Recorder(tmp_path / "day.mp4", clock=lambda: now)
    try:
        with pytest.raises(LmedgeError, match=r"cannot write .*day\.mp4: "):
            run_camera(classifier, Disk(list(noise)), [kept, recorder])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(kept.results) == 240
    first, second = caplog.messages
    assert "pauses until there is space; the other outputs go on" in first
    assert second == f"the recording goes on in {tmp_path / 'day-3.mp4'}"
    assert recorder.path == tmp_path / "day-3.mp4" and 0 < recorder.frames <= 90
    assert 0 < count_frames(tmp_path / "day.mp4") < 100
    assert count_frames(tmp_path / "day-3.mp4") == recorder.frames
    assert (tmp_path / "day-2.mp4").read_bytes() == b"of somebody else"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"day.mp4", "day-2.mp4", "day-3.mp4"}


def test_a_loop_ends_once_no_sink_is_left(classifier: Classifier) -> None:
    taken, source = Full(range(2, 99)), Given([bgr("red")] * 6)
    other = Full(range(3, 99))
    with pytest.raises(OSError, match="No space"):
        run_camera(classifier, source, [JsonLines(taken), JsonLines(other)])
    assert len(taken.getvalue().splitlines()) == 2
    assert len(other.getvalue().splitlines()) == 3


def test_the_error_of_the_source_is_the_one_that_counts(classifier: Classifier) -> None:
    source = Given([bgr("red")] * 3, SourceError("gone"))
    with pytest.raises(SourceError, match="gone"):
        run_camera(classifier, source, [Kept(), JsonLines(Full({1}))])


def test_without_pyav_recording_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"lmedge\[camera\]"):
        Recorder(tmp_path / "a.mp4")


def test_while_a_camera_is_away_sinks_are_told_and_nothing_is_classified(
    classifier: Classifier, tmp_path: Path
) -> None:
    class Away(Given):
        def __iter__(self) -> Iterator[Frame | Absence]:
            frames = super().__iter__()
            yield next(frames)
            yield from [Absence(message="away")] * 3
            yield from frames

    lines, kept = io.StringIO(), Kept()
    recorder = Recorder(tmp_path / "a.mp4")
    summary = run_camera(classifier, Away([bgr("red")] * 4), [kept, JsonLines(lines), recorder])
    assert summary.frames == len(kept.results) == len(lines.getvalue().splitlines()) == 4
    assert [absence.message for absence in kept.absences] == ["away"] * 3
    assert count_frames(tmp_path / "a.mp4") == 4


def test_files_and_threads_are_chosen_while_it_runs(tiny_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tflite"
    other.write_bytes(tiny_file.read_bytes())
    choice = Choice([tiny_file, other])
    assert choice.choose(2) == "other.tflite" and choice.current.model.path == other
    assert choice.choose(3) == "there are 2 files" and choice.current.model.path == other

    class Chooser(Kept):
        def take(self, result: FrameResult) -> bool:
            one.choose(2)
            return super().take(result)

    one = Choice([tiny_file])
    run_camera(one, Given([bgr("red")] * 3), [Chooser()])
    assert one.current.interpreter.threads == 2
    with pytest.raises(LmedgeError, match="at least one"):
        Choice([])


def test_without_a_display_the_window_says_what_to_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LmedgeError, match=r"no display.*--headless"):
        Window(Given([]))
    monkeypatch.setenv("DISPLAY", ":7654")
    with pytest.raises(LmedgeError, match=r":7654.*--headless"):
        Window(Given([]))


def test_the_rate_is_that_of_the_last_second(classifier: Classifier) -> None:
    # The loop looks at the clock on arrival of the first frame and after each classification.
    ticks = itertools.chain(
        [0.0], (i / 10 for i in range(1, 11)), (1 + i / 50 for i in itertools.count(1))
    )
    sink = Kept()
    run_camera(classifier, Given([bgr("red")] * 80), [sink], clock=lambda: next(ticks))
    assert sink.results[9].frames_per_second == pytest.approx(10)
    assert sink.results[-1].frames_per_second == pytest.approx(50)


class Screen:
    """Stands in for the display there is none of; keys are pressed in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keys: str = "") -> None:
        self.shown: list[np.ndarray] = []
        self.visible = 1.0
        self.keys = iter(keys)
        monkeypatch.setattr("lmedge.camera.window.require_display", lambda: None)
        for name in ("namedWindow", "resizeWindow", "destroyAllWindows"):
            monkeypatch.setattr(cv2, name, lambda *_: None)
        monkeypatch.setattr(cv2, "imshow", lambda _, image: self.shown.append(image))
        monkeypatch.setattr(cv2, "waitKey", lambda _: ord(next(self.keys, "\xff")))
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: self.visible)


@pytest.mark.parametrize(
    ("keys", "visible", "goes_on"), [("", 1.0, True), ("q", 1.0, False), ("", 0.0, False)]
)
def test_q_and_closing_the_window_quit(
    classifier: Classifier,
    monkeypatch: pytest.MonkeyPatch,
    keys: str,
    visible: float,
    goes_on: bool,
) -> None:
    screen = Screen(monkeypatch, keys)
    screen.visible = visible
    source = Given([bgr("red")] * 3)
    summary = run_camera(classifier, source, [Window(source)])
    assert summary.end is (End.SOURCE if goes_on else End.QUIT)
    assert len(screen.shown) == (3 if goes_on else 1)


def test_the_keys_of_the_window(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    screen = Screen(monkeypatch, "o" + " s3" + " " + "q")  # pause, save, choose, go on, quit
    source, choice = Given([bgr("red")] * 9), Choice([tiny_file])
    summary = run_camera(choice, source, [Window(source, choice)])
    assert summary.end is End.QUIT and summary.frames <= 3
    assert np.array_equal(screen.shown[1], bgr("red"))  # without the overlay
    assert choice.current.interpreter.threads == 3
    (saved,) = tmp_path.glob("lmedge-*.png")
    assert np.array_equal(cv2.imread(str(saved)), bgr("red"))


def test_letters_of_a_name_are_no_keys_of_the_window(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the name of a burst is asked for, `q` is a letter; a closed window still quits."""

    class Asking:
        state = TeacherState(phase=LessonPhase.ASKING, message="4 photographs are taken")
        labels = {"tower": "towers"}  # noqa: RUF012

        def cancel(self) -> None:
            self.state = TeacherState()

    def run(keys: str, visible: float = 1.0) -> tuple[End, int]:
        screen, teacher = Screen(monkeypatch, keys), Asking()
        screen.visible = visible
        source = Given([bgr("red")] * 9)
        window = Window(source, None, teacher)  # type: ignore[arg-type]
        summary = run_camera(classifier, source, [window])
        assert not np.array_equal(screen.shown[0][-40:], bgr("red")[-40:])  # the lines
        return summary.end, len(screen.shown)

    assert run("qs o") == (End.SOURCE, 9)
    assert run("q\x1bq")[0] is End.QUIT
    assert run("q", 0.0) == (End.QUIT, 1)


def test_the_window_shows_that_the_camera_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    window = Window(Given([]))
    assert window.absent(Absence(message="camera 0: no frames for 4 s, trying again"))
    assert screen.shown[0].max() == 255 and np.median(screen.shown[0]) == 30
    screen.keys = iter("q")
    assert not window.absent(Absence(message="away"))
