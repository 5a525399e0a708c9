"""Latency: what is measured, on a clock that the test turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lmedge.benchmarks.latency import QUICK, USUAL, Effort, Spread, example_frame, measure
from lmedge.errors import LmedgeError, ModelFileError


class Clock:
    """Nanoseconds that go on by `step` whenever they are read."""

    def __init__(self, step: int) -> None:
        self.now = 0
        self.step = step

    def __call__(self) -> int:
        self.now += self.step
        return self.now


def test_spread_is_in_milliseconds() -> None:
    spread = Spread.of(np.arange(1, 101) * 1_000_000)
    assert spread.p50 == pytest.approx(50.5)
    assert spread.p90 == pytest.approx(90.1)
    assert spread.p99 == pytest.approx(99.01)
    assert spread.p95 == pytest.approx(95.05)
    assert spread.mean == pytest.approx(50.5)
    assert spread.min == pytest.approx(1)
    assert spread.std == pytest.approx(np.std(np.arange(1, 101)))
    assert spread.tail == pytest.approx(99.01 / 50.5)


def test_every_time_comes_from_the_clock(tiny_file: Path) -> None:
    latency = measure(tiny_file, effort=Effort(runs=25, seconds=0.0), clock=Clock(2_000_000))
    assert (latency.threads, latency.runs) == (1, 25)
    assert latency.warm_up >= 10
    assert latency.load_ms == latency.first_ms == 2.0
    assert latency.invoke_ms == latency.end_to_end_ms
    assert latency.invoke_ms == Spread(
        p50=2.0, p90=2.0, p95=2.0, p99=2.0, mean=2.0, min=2.0, std=0.0
    )
    assert latency.frames_per_second == 500.0
    assert latency.samples.shape == (25, 2)
    assert latency.overhead == 1.0


def test_at_least_so_many_runs_and_so_long(tiny_file: Path) -> None:
    effort = Effort(runs=200, seconds=3.0)
    assert measure(tiny_file, effort=effort, clock=Clock(1_000_000_000)).runs == 200
    # The clock is read 5 times a run: 5 ms each.
    assert measure(tiny_file, effort=effort, clock=Clock(1_000_000)).runs == 600


def test_a_slow_machine_has_fewer_runs(tiny_file: Path) -> None:
    """A classification of two seconds a hundred times is seven minutes, too long for a look."""
    # A run takes 5 s by this clock, and the end is seen after it: 6 runs.
    slow = measure(tiny_file, effort=QUICK, clock=Clock(1_000_000_000))
    assert (slow.runs, slow.warm_up) == (6, 3)
    slower = measure(tiny_file, effort=QUICK, clock=Clock(60_000_000_000))
    assert (slower.runs, slower.warm_up) == (3, 3)
    assert measure(tiny_file, effort=QUICK, clock=Clock(1_000_000)).runs == 200
    assert QUICK.tenth() == Effort(runs=10, seconds=0.1, longest=3.0)
    assert USUAL.tenth() == Effort(runs=102, seconds=1.0)


def test_a_real_file_on_a_real_clock(tiny_file: Path) -> None:
    latency = measure(tiny_file, threads=2, effort=Effort(runs=200, seconds=0.0))
    assert latency.threads == 2
    assert latency.samples.shape == (200, 2)
    assert latency.samples.min() > 0
    assert all(len(set(column)) > 10 for column in latency.samples.T.tolist())
    for spread, column in zip(
        (latency.invoke_ms, latency.end_to_end_ms), latency.samples.T, strict=True
    ):
        assert spread == Spread.of(column)
    assert latency.overhead > 1
    assert latency.load_ms > 0


def test_what_cannot_be_measured(tmp_path: Path, tiny_file: Path) -> None:
    with pytest.raises(ModelFileError):
        measure(tmp_path / "absent.tflite")
    with pytest.raises(LmedgeError, match="runs"):
        measure(tiny_file, effort=Effort(runs=0, seconds=1.0))


def test_the_frame_is_a_webcam_frame_and_always_the_same() -> None:
    assert example_frame().shape == (480, 640, 3)
    assert np.array_equal(example_frame(), example_frame())
