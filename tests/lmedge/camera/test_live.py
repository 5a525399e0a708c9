from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from lmedge.camera import Absence, Frame, LiveSource
from lmedge.errors import CameraLostError, SourceError
from tests.lmedge.camera.streams import Numbered


def test_a_slow_consumer_gets_the_newest_frame_and_older_ones_are_counted() -> None:
    capture = Numbered()
    taken = []
    with LiveSource("fake", lambda: capture) as source:
        for frame in frames_of(source):
            newest = capture.reads
            assert Numbered.number(frame.image) == frame.index
            assert newest - frame.index <= 3  # the frame is at most a read or two old
            taken.append(frame.index)
            if len(taken) == 10:
                break
            time.sleep(0.03)
    assert taken == sorted(set(taken))
    assert taken[-1] > 2 * len(taken)
    # Each frame read was taken or dropped, or is the one still waiting.
    assert capture.reads - len(taken) - source.dropped in (0, 1)
    assert capture.released.wait(1)


def frames_of(source: LiveSource) -> Iterator[Frame]:
    return (frame for frame in source if isinstance(frame, Frame))


def test_a_fast_consumer_waits_and_sees_no_frame_twice() -> None:
    capture = Numbered(last=20, interval=0.005)
    seen = []
    with (
        LiveSource("fake", lambda: capture, give_up=0.3) as source,
        pytest.raises(CameraLostError, match=r"fake gave no frames for 0 s"),
    ):
        for frame in frames_of(source):
            seen.append(Numbered.number(frame.image))
    assert seen == sorted(set(seen))
    assert len(seen) + source.dropped == 20


def test_a_camera_that_opens_but_delivers_nothing() -> None:
    with (
        LiveSource("fake", lambda: Numbered(last=0), first_frame=0.2) as source,
        pytest.raises(SourceError, match="opened but delivers no frames") as caught,
    ):
        next(iter(source))
    assert not isinstance(caught.value, CameraLostError)


def test_it_is_given_up_after_the_seconds_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("lmedge.camera.live.time.monotonic", lambda: now)
    with LiveSource("fake", lambda: Numbered(last=1), give_up=60.0) as source:
        entries = iter(source)
        assert isinstance(next(entries), Frame)
        now = 59.9
        assert isinstance(next(entries), Absence)
        now = 60.1
        with pytest.raises(CameraLostError, match="fake gave no frames for 60 s"):
            next(entries)


def test_a_camera_that_went_away_is_opened_again_with_growing_pauses(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unplugged(Numbered):
        def read(self) -> tuple[bool, np.ndarray | None]:
            if self.reads == 5:
                raise RuntimeError("the driver fell over")
            return super().read()

    pauses: list[float] = []
    wait = threading.Event.wait

    def noted_wait(event: threading.Event, seconds: float | None = None) -> bool:
        if threading.current_thread().name == "capture fake" and seconds is not None:
            pauses.append(seconds)
        return wait(event, seconds)

    monkeypatch.setattr(threading.Event, "wait", noted_wait)
    first, last = Unplugged(), Numbered()
    attempts = itertools.count()

    def plug() -> Numbered:
        number = next(attempts)
        if 0 < number < 4:
            raise SourceError("no such camera")
        return first if number == 0 else last

    seen: list[Frame] = []
    messages: list[str] = []
    with LiveSource("fake", plug, back_off=(0.1, 0.3)) as source:
        for entry in source:
            if isinstance(entry, Absence):
                messages.append(entry.message)
            else:
                seen.append(entry)
                if last.reads and len(seen) > 3:
                    break
    assert first.released.is_set() and source.absences == 1
    assert messages and "trying again" in messages[0]
    assert [frame.index for frame in seen] == sorted({frame.index for frame in seen})
    assert pauses == [0.1, 0.2, 0.3, 0.3]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2 and lines[1] == "fake is back"
    assert "fell over" in lines[0] or "no such camera" in lines[0]  # the reason known by then


def test_a_read_that_hangs_is_told() -> None:
    hang = threading.Event()

    class Hanging(Numbered):
        def read(self) -> tuple[bool, np.ndarray | None]:
            if self.reads == 1:
                hang.wait(20)
            return super().read()

    with LiveSource("fake", Hanging, patience=0.2) as source:
        entries = iter(source)
        assert isinstance(next(entries), Frame)
        assert isinstance(next(entries), Absence)
        hang.set()
        assert isinstance(next(entry for entry in entries if isinstance(entry, Frame)), Frame)


def test_stopping_from_another_thread_ends_a_waiting_loop_soon() -> None:
    # A loop that goes on waiting raises SourceError after two seconds
    with LiveSource("fake", lambda: Numbered(last=0), first_frame=2.0) as source:
        threading.Timer(0.1, source.stop).start()
        assert list(source) == []


def test_closing_does_not_wait_for_a_capture_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmedge.camera.live._JOIN", 0.1)
    hang = threading.Event()

    class Hanging(Numbered):
        def read(self) -> tuple[bool, np.ndarray | None]:
            hang.wait()
            return False, None

    capture = Hanging()
    with LiveSource("fake", lambda: capture):
        pass
    assert not capture.released.is_set()  # closed while the capture still hangs
    hang.set()
    assert capture.released.wait(2)


def test_an_error_on_opening_passes_and_leaves_no_thread() -> None:
    def refuse() -> Numbered:
        raise SourceError("no such camera")

    before = threading.active_count()
    with pytest.raises(SourceError, match="no such camera"):
        LiveSource("fake", refuse)
    assert threading.active_count() == before
