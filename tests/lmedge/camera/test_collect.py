"""`--collect`: frames to learn from, a uniform random share, and a bounded folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from lmedge.camera import Choice, Frame, FrameResult
from lmedge.camera.collect import CollectOptions, Collector
from lmedge.cli import main
from lmedge.errors import DataError
from lmedge.field.collected import CollectedImage, list_collected, read_collected, sidecar
from lmedge.field.store import FREE_BYTES
from tests import small_run
from tests.in_process import lmedge
from tests.lmedge.camera.results import result_of
from tests.lmedge.camera.streams import bgr, write_video

SIZE = (48, 64)


class Time:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    monkeypatch.setattr("lmedge.camera.collect._WAITING", 0)  # so that none is too fast
    return Time()


def frame(seed: int) -> np.ndarray:
    """Return a drawing unlike those of other seeds, (H, W, 3) uint8 BGR."""
    return np.ascontiguousarray(small_run.draw((90, 120, 60), seed, SIZE)[..., ::-1])


def shown(
    tiny_file: Path, seed: int, *, known: bool = True, sure: bool = True, seconds: float = 0.0
) -> FrameResult:
    """Return a result whose prediction is known or not, and sure or undecided."""
    image = frame(seed)
    result = result_of(tiny_file, "", image=image, seconds=seconds)
    marginal = np.array([0.97, 0.01, 0.01, 0.01] if sure else [0.5, 0.01, 0.48, 0.01], np.float32)
    category = np.array([0.99, 0.01] if sure else [0.6, 0.4], np.float32)
    prediction = dataclasses.replace(
        result.prediction, landmark_marginal=marginal, category_marginal=category, known=known
    )
    return dataclasses.replace(result, prediction=prediction, known=known)


@pytest.fixture
def collector(tiny_file: Path, tmp_path: Path, clock: Time) -> Callable[..., Collector]:
    def make(**bounds: float) -> Collector:
        options = CollectOptions(**{"one_in": 0, "rate": 3600, **bounds})  # type: ignore[arg-type]
        choice = Choice([tiny_file], 1)
        return Collector(tmp_path / "field", choice, "hall", options=options, seed=1, clock=clock)

    return make


def collected(tmp_path: Path) -> list[CollectedImage]:
    found = [one for one in list_collected(tmp_path / "field") if isinstance(one, CollectedImage)]
    return sorted(found, key=lambda one: one.number)


def feed(sink: Collector, clock: Time, *results: FrameResult) -> None:
    for result in results:
        sink.take(result)
        clock.now += 2.0
    sink.close()


def test_what_is_worth_learning_from_is_kept_with_what_the_network_gave(
    tiny_file: Path, tmp_path: Path, clock: Time, collector: Callable[..., Collector]
) -> None:
    results = [
        shown(tiny_file, 1),
        shown(tiny_file, 2, known=False),
        shown(tiny_file, 3, sure=False),
    ]
    conflict = shown(tiny_file, 4)
    other = np.array([0.02, 0.98], np.float32)
    prediction = dataclasses.replace(conflict.prediction, category_marginal=other)
    feed(collector(), clock, *results, dataclasses.replace(conflict, prediction=prediction))
    found = collected(tmp_path)
    assert [one.reasons for one in found][:2] == [("unknown",), ("undecided",)]
    assert "conflict" in found[2].reasons
    first = found[0]
    data = first.path.read_bytes()
    assert hashlib.sha256(data).hexdigest() == first.sha256
    assert first.path.stem == first.sha256[:20] and first.size == len(data)
    assert (first.camera, first.known, first.landmark) == ("hall", False, "blue")
    assert first.landmarks["blue"] == pytest.approx(0.97, abs=1e-3)
    assert first.time is not None and first.time.endswith("+00:00")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (*SIZE, 3)
    assert np.abs(image.astype(int) - results[1].frame.image.astype(int)).mean() < 8
    assert (tmp_path / "field").stat().st_mode & 0o077 == 0


def test_near_duplicates_of_what_is_there_are_left_out_also_after_a_restart(
    tiny_file: Path, tmp_path: Path, clock: Time, collector: Callable[..., Collector]
) -> None:
    first, second = (shown(tiny_file, seed, known=False) for seed in (1, 2))
    mirrored = dataclasses.replace(
        first, frame=dataclasses.replace(first.frame, image=first.frame.image[:, ::-1].copy())
    )
    feed(collector(), clock, first, first, mirrored, second)
    assert len(collected(tmp_path)) == 2
    feed(collector(), clock, first, second, shown(tiny_file, 3, known=False))
    assert [one.number for one in collected(tmp_path)] == [1, 2, 3]


def test_a_view_that_moves_a_little_is_kept_once_a_minute(
    tiny_file: Path, tmp_path: Path, clock: Time, collector: Callable[..., Collector]
) -> None:
    image = cv2.resize(frame(5), (128, 96))
    views = [
        dataclasses.replace(
            shown(tiny_file, 5, known=False),
            frame=Frame(image=image[at : at + 84, at : at + 112].copy(), index=at, seconds=seconds),
        )
        for at, seconds in ((0, 0.0), (2, 2.0), (4, 4.0), (12, 70.0))
    ]
    feed(collector(), clock, *views)
    assert [one.number for one in collected(tmp_path)] == [1, 2]


def test_the_random_share_depends_on_nothing_but_chance(
    tiny_file: Path, tmp_path: Path, clock: Time, collector: Callable[..., Collector]
) -> None:
    same = shown(tiny_file, 1)
    feed(collector(one_in=10, rate=0), clock, *[same] * 400)
    found = collected(tmp_path)
    assert 22 <= len(found) <= 60  # 40 expected, three standard deviations
    assert all(one.reasons == ("random",) and one.sha256 == found[0].sha256 for one in found)
    assert len({one.path for one in found}) == len(found)  # each draw counts


@pytest.mark.parametrize(("also_known", "least", "most"), [(True, 10, 12), (False, 5, 6)])
def test_the_rate_is_bounded_and_half_of_it_is_for_known_ones(
    tiny_file: Path,
    tmp_path: Path,
    clock: Time,
    collector: Callable[..., Collector],
    also_known: bool,
    least: int,
    most: int,
) -> None:
    """A camera that mostly shows none of the landmarks leaves room for the frames that do."""
    sink = collector(rate=30)
    for seed in range(40):
        sink.take(shown(tiny_file, seed, known=False))
        sink.take(shown(tiny_file, seed + 100, known=False))  # in the same second
        while sink._waiting.qsize():
            pass
        clock.now += 1.0
        if also_known and seed > 20:
            sink.take(shown(tiny_file, seed + 200, sure=False))
            while sink._waiting.qsize():
                pass
        clock.now += 1.0
    sink.close()
    found = collected(tmp_path)
    assert least <= len(found) <= most  # 10 at once, or 5, and 80 s at 30 an hour
    assert 5 <= sum(not one.known for one in found) <= 6


def test_of_too_many_the_oldest_certain_ones_go_first_and_random_ones_by_age(
    tiny_file: Path, tmp_path: Path, clock: Time, collector: Callable[..., Collector]
) -> None:
    sure = [shown(tiny_file, seed) for seed in range(4)]
    for index, result in enumerate(sure):  # certain, and kept since the heads are in conflict
        other = np.array([0.45, 0.55], np.float32)
        prediction = dataclasses.replace(result.prediction, category_marginal=other)
        sure[index] = dataclasses.replace(result, prediction=prediction)
    unknown = [shown(tiny_file, seed, known=False) for seed in range(4, 8)]
    feed(collector(), clock, *unknown[:2], *sure, *unknown[2:])
    before = collected(tmp_path)
    assert len(before) == 8
    one = max(found.size + sidecar(found.path).stat().st_size for found in before)
    extra = [shown(tiny_file, seed, known=False) for seed in (20, 21)]
    feed(collector(megabytes=8.2 * one / 1e6), clock, *extra)
    numbers = [found.number for found in collected(tmp_path)]
    assert numbers[:2] == [1, 2] and 3 not in numbers and numbers[-2:] == [9, 10]
    assert {path.suffix for path in (tmp_path / "field").iterdir()} == {".jpg", ".json"}
    images = {path.stem for path in (tmp_path / "field").glob("*.jpg")}
    assert images == {path.stem for path in (tmp_path / "field").glob("*.json")}


def test_a_full_disk_pauses_and_is_reported_once(
    tiny_file: Path,
    tmp_path: Path,
    clock: Time,
    collector: Callable[..., Collector],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    free = SimpleNamespace(free=FREE_BYTES - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    caplog.set_level("INFO")
    sink = collector()
    for seed in range(100):
        assert sink.take(shown(tiny_file, seed, known=False))
        while sink._waiting.qsize():
            pass
        clock.now += 2.0
    assert caplog.text.count("collecting pauses") == 1
    free.free = FREE_BYTES
    clock.now += 60.0
    feed(sink, clock, shown(tiny_file, 200, known=False))
    assert len(collected(tmp_path)) == 1 and "goes on" in caplog.text


def test_an_error_of_an_image_does_not_end_the_collecting(
    tiny_file: Path,
    tmp_path: Path,
    clock: Time,
    collector: Callable[..., Collector],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = collector()

    def broken(_: object) -> bool:
        raise cv2.error("no encoder")

    with monkeypatch.context() as patch:
        patch.setattr(sink._store, "add", broken)
        sink.take(shown(tiny_file, 1, known=False))
        until = time.monotonic() + 20
        while "collecting pauses" not in caplog.text:
            assert time.monotonic() < until
    clock.now += 60.0
    feed(sink, clock, shown(tiny_file, 2, known=False))
    assert len(collected(tmp_path)) == 1


def test_a_disk_that_hangs_does_not_hold_up_the_end(
    tiny_file: Path,
    collector: Callable[..., Collector],
    clock: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lmedge.camera.collect._WAITING", 1)
    monkeypatch.setattr("lmedge.camera.collect._LONGEST_CLOSE", 0.1)
    sink, hung = collector(), threading.Event()
    monkeypatch.setattr(sink._store, "add", lambda _: hung.wait(20))
    for seed in range(4):
        sink.take(shown(tiny_file, seed, known=False))
        clock.now += 2.0
    begun = time.monotonic()
    sink.close()
    assert time.monotonic() - begun < 5
    hung.set()


def test_bursts_are_frames_of_one_label_without_a_gap(
    tiny_file: Path, tmp_path: Path, clock: Time, collector: Callable[..., Collector]
) -> None:
    times = [(0.0, False), (5.0, False), (9.0, True), (100.0, True)]
    results = [
        shown(tiny_file, seed, known=known, sure=False, seconds=at)
        for seed, (at, known) in enumerate(times)
    ]
    feed(collector(), clock, *results)
    bursts = [one.burst for one in collected(tmp_path)]
    assert bursts[0] == bursts[1] and len(set(bursts)) == 3


def test_what_a_kill_left_is_removed_and_other_files_stay(
    tiny_file: Path, tmp_path: Path, clock: Time, collector: Callable[..., Collector]
) -> None:
    folder = tmp_path / "field"
    folder.mkdir()
    half, other = folder / f"{'0' * 20}.jpg", folder / "holiday.jpg"
    half.write_bytes(b"half"), other.write_bytes(b"mine")
    assert list(list_collected(folder)) == []
    feed(collector(), clock, shown(tiny_file, 1, known=False))
    assert not half.exists() and other.exists() and len(collected(tmp_path)) == 1


def test_json_files_of_others_are_errors_and_no_tracebacks(tmp_path: Path) -> None:
    image = tmp_path / f"{'a' * 20}.jpg"
    image.write_bytes(b"")
    odd = ["", "[]", "{", '{"schema": 1}', '{"schema": 99}', '{"schema": "x"}', "[" * 100_000]
    for text in odd:
        sidecar(image).write_text(text)
        with pytest.raises(DataError):
            read_collected(image)
        (found,) = list_collected(tmp_path)
        assert isinstance(found, DataError)
    with pytest.raises(DataError, match="no such folder"):
        list(list_collected(tmp_path / "none"))


def test_the_command_line(tiny_file: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "in.mp4", [bgr("red")] * 20)
    words = ("camera", tiny_file, "--source", video, "--headless", "--jsonl", "-")
    done = lmedge(*words, "--collect", tmp_path / "field", "--collect-one-in", 1)
    assert done.returncode == 0, done.stderr
    found = collected(tmp_path)
    assert found and all(one.is_random for one in found)
    assert json.loads(sidecar(found[0].path).read_text())["one_in"] == 1
    for option in ("--collect-one-in", "--collect-rate", "--collect-mb"):
        with pytest.raises(SystemExit) as caught:
            main(["camera", str(tiny_file), option, "5"])
        assert caught.value.code == 2
