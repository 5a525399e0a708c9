"""Single-stream latency of a file: one picture at a time, as a device sees them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmedge.classifier import Classifier
from lmedge.errors import LmedgeError
from lmedge.image import prepare
from lmedge.interpreter import load_runtime

FRAME_SIZE = (480, 640)  # height, width: what webcams give unless asked
MIN_RUNS = 200
MIN_SECONDS = 3.0
WARM_UP_RUNS = 10
WARM_UP_SECONDS = 0.3

Clock = Callable[[], int]


@dataclasses.dataclass(frozen=True)
class Spread:
    """Percentiles (linearly interpolated) and mean of a series, in milliseconds."""

    p50: float
    p90: float
    p99: float
    mean: float

    @classmethod
    def of(cls, nanoseconds: npt.ArrayLike) -> Spread:
        """Summarise a series of (N,) durations in nanoseconds, N at least 1."""
        milliseconds = np.asarray(nanoseconds, np.float64) / 1e6
        p50, p90, p99 = np.percentile(milliseconds, (50, 90, 99)).tolist()
        return cls(p50, p90, p99, float(milliseconds.mean()))


@dataclasses.dataclass(frozen=True)
class Latency:
    """How long a file takes; every time is in milliseconds.

    `load_ms` is reading, checking and preparing the file with the runtime already imported,
    `first_ms` the first invoke, `invoke_ms` the graph alone, `end_to_end_ms` from a decoded
    640 x 480 frame to a Prediction. `runs` of each were measured after `warm_up` of each.
    """

    threads: int
    runs: int
    warm_up: int
    load_ms: float
    first_ms: float
    invoke_ms: Spread
    end_to_end_ms: Spread

    @property
    def overhead(self) -> float:
        """Median end-to-end time over median invoke time: 1.0 would be free."""
        return self.end_to_end_ms.p50 / self.invoke_ms.p50


def example_frame() -> npt.NDArray[np.uint8]:
    """Return a frame of noise, (480, 640, 3) uint8 RGB, always the same."""
    return np.random.default_rng(0).integers(0, 256, (*FRAME_SIZE, 3), np.uint8)


def measure(
    path: Path, *, threads: int = 1, runs: int | None = None, clock: Clock = time.perf_counter_ns
) -> Latency:
    """Measure a file: `runs` of each kind, or at least 200 and about 3 seconds of both together.

    A bare invoke and a whole classification take turns, and who goes first alternates, so that
    whatever else the machine does falls on both alike. `clock` gives nanoseconds. Raises
    ModelFileError when the file cannot be used.
    """
    if runs is not None and runs < 1:
        raise LmedgeError(f"runs must be at least 1, not {runs}")
    load_runtime()  # its import belongs to the process, not to the file
    start = clock()
    classifier = Classifier(path, threads=threads)
    loaded = clock()
    frame = example_frame()
    classifier.interpreter.set_image(prepare(frame, classifier.model.size, classifier.model.resize))
    before_first = clock()
    classifier.interpreter.invoke()
    first = clock()
    warm_up = _take_turns(classifier, frame, clock, WARM_UP_RUNS, WARM_UP_SECONDS)
    least, seconds = (MIN_RUNS, MIN_SECONDS) if runs is None else (runs, 0.0)
    measured = _take_turns(classifier, frame, clock, least, seconds)
    return Latency(
        threads=threads,
        runs=len(measured),
        warm_up=len(warm_up),
        load_ms=(loaded - start) / 1e6,
        first_ms=(first - before_first) / 1e6,
        invoke_ms=Spread.of(measured[:, 0]),
        end_to_end_ms=Spread.of(measured[:, 1]),
    )


def _take_turns(
    classifier: Classifier,
    frame: npt.NDArray[np.uint8],
    clock: Clock,
    least: int,
    seconds: float,
) -> npt.NDArray[np.int64]:
    """Return (runs, 2) nanoseconds, invoke and classify, until both bounds are reached."""
    tasks = (classifier.interpreter.invoke, lambda: classifier.classify(frame))
    taken: list[tuple[int, int]] = []
    began = clock()
    while len(taken) < least or clock() - began < seconds * 1e9:
        pair = [0, 0]
        for task in (0, 1) if len(taken) % 2 == 0 else (1, 0):
            start = clock()
            tasks[task]()
            pair[task] = clock() - start
        taken.append((pair[0], pair[1]))
    return np.array(taken, np.int64)
