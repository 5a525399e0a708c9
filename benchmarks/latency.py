"""Single-stream latency of a file: one image at a time, as on a device.

The method is the single-stream scenario of MLPerf Inference: the next query follows the answer to
the one before, for at least 1,024 queries and 10 seconds, and percentiles are reported.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmedge.classifier import Classifier
from lmedge.errors import LmedgeError
from lmedge.image import prepare
from lmedge.runtime import load_runtime

FRAME_SIZE = (480, 640)  # height, width: the default of webcams
WARM_UP_RUNS = 10
WARM_UP_SECONDS = 0.3
FEWEST_RUNS = 3  # however long they take

Clock = Callable[[], int]
Samples = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effort:
    """The length of a measurement.

    Attributes:
        runs: At least so many runs.
        seconds: At least so many seconds.
        longest: Seconds after which fewer runs are enough, FEWEST_RUNS at least.
    """

    runs: int
    seconds: float
    longest: float = math.inf

    def __post_init__(self) -> None:
        if self.runs < 1:
            raise LmedgeError(f"runs must be at least 1, not {self.runs}")

    def done(self, runs: int, seconds: float) -> bool:
        """Return True if a measurement of so many runs and seconds is long enough."""
        if seconds >= self.longest and runs >= FEWEST_RUNS:
            return True
        return runs >= self.runs and seconds >= self.seconds

    def tenth(self) -> Effort:
        """Return a tenth of this effort, one run at least."""
        return Effort(
            runs=max(1, self.runs // 10), seconds=self.seconds / 10, longest=self.longest / 10
        )

    def warm_up(self) -> Effort:
        """Return the effort before this one, which is not measured."""
        return Effort(runs=WARM_UP_RUNS, seconds=WARM_UP_SECONDS, longest=self.longest / 10)


QUICK, USUAL, THOROUGH = (
    Effort(runs=100, seconds=1.0, longest=30.0),
    Effort(runs=1024, seconds=10.0),
    Effort(runs=1024, seconds=60.0),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """Summary of a series in milliseconds; percentiles are linearly interpolated."""

    p50: float
    p90: float
    p95: float
    p99: float
    mean: float
    min: float
    std: float

    @classmethod
    def of(cls, nanoseconds: npt.ArrayLike) -> Spread:
        """Summarise a series of (N,) durations in nanoseconds, N at least 1."""
        milliseconds = np.asarray(nanoseconds, np.float64) / 1e6
        p50, p90, p95, p99 = np.percentile(milliseconds, (50, 90, 95, 99)).tolist()
        return cls(
            p50=p50,
            p90=p90,
            p95=p95,
            p99=p99,
            mean=float(milliseconds.mean()),
            min=float(milliseconds.min()),
            std=float(milliseconds.std()),
        )

    @property
    def tail(self) -> float:
        """The 99th percentile over the median."""
        return self.p99 / self.p50


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latency:
    """The times of a file, in milliseconds.

    Attributes:
        threads: Threads of the runtime.
        runs: Measured invokes, and as many whole classifications.
        warm_up: Runs of each before those.
        load_ms: Time to read, check and prepare the file, with the runtime imported before.
        first_ms: Time of the first invoke.
        invoke_ms: Times of the graph alone.
        end_to_end_ms: Times from a decoded 640 x 480 frame to a Prediction.
        samples: (runs, 2) int64 nanoseconds, invoke and end to end, in the order of measurement.
    """

    threads: int
    runs: int
    warm_up: int
    load_ms: float
    first_ms: float
    invoke_ms: Spread
    end_to_end_ms: Spread
    samples: Samples = dataclasses.field(repr=False, compare=False)

    @property
    def overhead(self) -> float:
        """Median end-to-end time over median invoke time."""
        return self.end_to_end_ms.p50 / self.invoke_ms.p50

    @property
    def frames_per_second(self) -> float:
        """Frames a second of one stream, by the mean end-to-end time."""
        return 1000.0 / self.end_to_end_ms.mean

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON, without the samples."""
        values = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "samples"
        }
        values |= {
            name: dataclasses.asdict(values[name]) for name in ("invoke_ms", "end_to_end_ms")
        }
        return {**values, "overhead": self.overhead, "frames_per_second": self.frames_per_second}


def example_frame() -> npt.NDArray[np.uint8]:
    """Return a frame of noise, (480, 640, 3) uint8 RGB, always the same."""
    return np.random.default_rng(0).integers(0, 256, (*FRAME_SIZE, 3), np.uint8)


def measure(
    path: Path,
    *,
    threads: int = 1,
    effort: Effort = USUAL,
    clock: Clock = time.perf_counter_ns,
    runtime: str | None = None,
) -> Latency:
    """Measure a file.

    A bare invoke and a whole classification take turns in alternating order, so that other work of
    the machine affects both alike.

    Args:
        path: The file.
        threads: Threads of the runtime.
        effort: The length of the measurement.
        clock: Function that returns nanoseconds.
        runtime: One of RUNTIMES; None takes the first one installed.

    Raises:
        ModelFileError: The file cannot be used.
    """
    load_runtime(runtime)  # its import is no part of the time to load the file
    start = clock()
    classifier = Classifier(path, threads=threads, runtime=runtime)
    loaded = clock()
    frame = example_frame()
    classifier.interpreter.set_image(prepare(frame, classifier.model.size, classifier.model.resize))
    before_first = clock()
    classifier.interpreter.invoke()
    first = clock()
    tasks = (classifier.interpreter.invoke, lambda: classifier.classify(frame))
    warm_up = take_turns(tasks, effort.warm_up(), clock)
    measured = take_turns(tasks, effort, clock)
    return Latency(
        threads=threads,
        runs=len(measured),
        warm_up=len(warm_up),
        load_ms=(loaded - start) / 1e6,
        first_ms=(first - before_first) / 1e6,
        invoke_ms=Spread.of(measured[:, 0]),
        end_to_end_ms=Spread.of(measured[:, 1]),
        samples=measured,
    )


def take_turns(
    tasks: Sequence[Callable[[], object]], effort: Effort, clock: Clock = time.perf_counter_ns
) -> Samples:
    """Return (runs, tasks) nanoseconds; every second round goes backwards."""

    def timed(task: Callable[[], object]) -> Callable[[], int]:
        def once() -> int:
            start = clock()
            task()
            return clock() - start

        return once

    return take_timed_turns([timed(task) for task in tasks], effort, clock)


def take_timed_turns(
    timers: Sequence[Callable[[], int]], effort: Effort, clock: Clock = time.perf_counter_ns
) -> Samples:
    """Return (runs, timers) nanoseconds of the timers; every second round goes backwards."""
    taken: list[list[int]] = []
    began = clock()
    while not effort.done(len(taken), (clock() - began) / 1e9):
        times = [0] * len(timers)
        order = range(len(timers)) if len(taken) % 2 == 0 else range(len(timers) - 1, -1, -1)
        for number in order:
            times[number] = timers[number]()
        taken.append(times)
    return np.array(taken, np.int64)
