from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from lmedge.camera import LiveSource
from lmedge.errors import SourceError

from .streams import Numbered


def test_a_slow_consumer_gets_the_newest_frame_and_older_ones_are_counted() -> None:
    capture = Numbered()
    taken = []
    with LiveSource("fake", lambda: capture) as source:
        for frame in source:
            newest = capture.reads
            assert Numbered.number(frame.picture) == frame.index
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


def test_a_fast_consumer_waits_and_sees_no_frame_twice() -> None:
    capture = Numbered(last=20, interval=0.005)
    seen = []
    with (
        LiveSource("fake", lambda: capture, patience=0.2) as source,
        pytest.raises(SourceError, match=r"fake stopped delivering frames \(none for 0.2 s\)"),
    ):
        for frame in source:
            seen.append(Numbered.number(frame.picture))
    assert seen == sorted(set(seen))
    assert len(seen) + source.dropped == 20


def test_a_camera_that_opens_but_delivers_nothing() -> None:
    with (
        LiveSource("fake", lambda: Numbered(last=0), patience=0.2) as source,
        pytest.raises(SourceError, match="opened but delivers no frames"),
    ):
        next(iter(source))


def test_a_capture_that_raises_is_a_source_error() -> None:
    class Broken(Numbered):
        def read(self) -> tuple[bool, np.ndarray | None]:
            raise RuntimeError("the driver fell over")

    capture = Broken()
    with (
        LiveSource("fake", lambda: capture) as source,
        pytest.raises(SourceError, match="the driver fell over"),
    ):
        next(iter(source))
    assert capture.released.is_set()


def test_stopping_from_another_thread_ends_a_waiting_loop_soon() -> None:
    with LiveSource("fake", lambda: Numbered(last=0), patience=60) as source:
        threading.Timer(0.1, source.stop).start()
        start = time.monotonic()
        assert list(source) == []
    assert time.monotonic() - start < 2


def test_closing_does_not_wait_for_a_capture_that_hangs() -> None:
    hang = threading.Event()

    class Hanging(Numbered):
        def read(self) -> tuple[bool, np.ndarray | None]:
            hang.wait(20)
            return False, None

    capture = Hanging()
    start = time.monotonic()
    with LiveSource("fake", lambda: capture):
        pass
    assert time.monotonic() - start < 5
    hang.set()
    assert capture.released.wait(2)


def test_an_error_on_opening_passes_and_leaves_no_thread() -> None:
    def refuse() -> Numbered:
        raise SourceError("no such camera")

    before = threading.active_count()
    with pytest.raises(SourceError, match="no such camera"):
        LiveSource("fake", refuse)
    assert threading.active_count() == before
