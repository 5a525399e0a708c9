"""Rate of the camera loop against the bare invoke, its delay and its memory.

    python -m benchmarks.studies.camera_rate FILE.tflite

The process keeps to one core if the system can do that. A capture thread delivers 640 x 480
frames, for the rate twice as fast as they can be classified, for the delay at a camera's 30 a
second. Bare invokes and the loop take turns, so that other work hits both.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from lmedge.benchmarks.latency import example_frame
from lmedge.camera import Absence, FrameResult, LiveSource, run_camera
from lmedge.classifier import Classifier
from lmedge.image import prepare
from lmedge.machine import resident_bytes
from lmedge.report.csv_files import write_csv

from .common import PATH, out_option, run_study

CAMERA_RATE = 30.0
_BUFFERS = 4
_NOTED = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraRate:
    """One file. Times in ms, memory in MB (10^6 bytes).

    `rate_ratio` is the loop's rate over that of the bare invoke, the median of the rounds with
    their 10th and 90th percentile. `work_ratio` is the same of the processor time they take, the
    capture's included. It approximates a core of its own when other processes use the core too.
    `delay_limit_ms` is 1.5 times the median invoke and one
    interval of 30 frames a second.
    """

    file: str
    cores: int
    rounds: int
    invoke_ms: float
    loop_rate: float
    rate_ratio: float
    rate_ratio_low: float
    rate_ratio_high: float
    work_ratio: float
    delay_p50_ms: float
    delay_p90_ms: float
    delay_limit_ms: float
    memory_frames: int
    memory_start_mb: float | None
    memory_end_mb: float | None


class Taken(NamedTuple):
    """Seconds of one invoke or frame: on the clock, and of processor time."""

    clock: float
    work: float


class Clocked:
    """A capture that hands over its buffers in turn, as a driver does, and notes when.

    Only the last 10,000 frames are noted, because memory is measured too.
    """

    def __init__(self, rate: float) -> None:
        self.delivered: dict[int, float] = {}
        self._number = 0
        self._interval = 1.0 / rate
        self._buffers = [example_frame() for _ in range(_BUFFERS)]
        self._next = time.perf_counter()

    def read(self) -> tuple[bool, np.ndarray]:
        """Wait until the next frame is due."""
        self._next = max(self._next + self._interval, time.perf_counter() - self._interval)
        time.sleep(max(0.0, self._next - time.perf_counter()))
        frame = self._buffers[self._number % _BUFFERS]
        self.delivered[self._number] = time.perf_counter()
        self.delivered.pop(self._number - _NOTED, None)
        self._number += 1
        return True, frame

    def release(self) -> None:
        """Do nothing."""


class Delays:
    """A sink that notes the milliseconds from the delivery of a frame to its labels."""

    def __init__(self, capture: Clocked) -> None:
        self.milliseconds: list[float] = []
        self._capture = capture

    def take(self, result: FrameResult) -> bool:
        """Note one frame."""
        delivered = self._capture.delivered[result.frame.index]
        self.milliseconds.append(1000 * (time.perf_counter() - delivered))
        return True

    def absent(self, absence: Absence) -> bool:
        """Do nothing: this camera stays."""
        return True

    def close(self) -> None:
        """Do nothing."""


def keep_to_one_core() -> int:
    """Bind this process to one core and return the number of cores that it may use."""
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return 1


def resident_mb() -> float | None:
    """Return the memory of this process, None if the system does not report it."""
    count = resident_bytes()
    return None if count is None else count / 1e6


def invoke_seconds(classifier: Classifier, runs: int) -> Taken:
    """Return the mean time of a bare invoke."""
    image = prepare(example_frame(), classifier.model.size, classifier.model.resize)
    classifier.interpreter.set_image(image)
    start, work = time.perf_counter(), time.process_time()
    for _ in range(runs):
        classifier.interpreter.invoke()
    return Taken((time.perf_counter() - start) / runs, (time.process_time() - work) / runs)


def loop_rate(classifier: Classifier, rate: float, frames: int) -> tuple[Taken, list[float]]:
    """Run the loop on a live source of `rate`; return the time of a frame, and the delays."""
    capture = Clocked(rate)
    delays = Delays(capture)
    with LiveSource("clocked", lambda: capture) as source:
        work = time.process_time()
        summary = run_camera(classifier, source, [delays], frames=frames)
        work = time.process_time() - work
    return Taken(1.0 / summary.rate, work / frames), delays.milliseconds


def memory(classifier: Classifier, frames: int) -> tuple[float | None, float | None]:
    """Return the resident memory after a hundredth of the frames and after the last."""
    early = max(100, frames // 100)
    loop_rate(classifier, 1000.0, early)
    before = resident_mb()
    capture = Clocked(1000.0)
    with LiveSource("clocked", lambda: capture) as source:
        run_camera(classifier, source, frames=frames)
    return before, resident_mb()


def measure(file: Path, classifier: Classifier, cores: int, rounds: int, runs: int) -> CameraRate:
    """Measure rate and delay of one file."""
    invokes = [invoke_seconds(classifier, runs)]
    frames: list[Taken] = []
    for _ in range(rounds):
        usual = statistics.median(one.clock for one in invokes)
        frames.append(loop_rate(classifier, 2.0 / usual, runs)[0])
        invokes.append(invoke_seconds(classifier, runs))
    # The invokes before and after the loop: a machine that slows down hits both.
    around = list(zip(frames, invokes, invokes[1:], strict=False))
    ratios = [(one.clock + other.clock) / 2 / frame.clock for frame, one, other in around]
    work = [(one.work + other.work) / 2 / frame.work for frame, one, other in around]
    _, delays = loop_rate(classifier, CAMERA_RATE, 2 * runs)
    invoke_ms = 1000 * statistics.median(one.clock for one in invokes)
    loop = statistics.median(1 / frame.clock for frame in frames)
    low, high = np.percentile(ratios, (10, 90)).tolist()
    p50, p90 = np.percentile(delays, (50, 90)).tolist()
    return CameraRate(
        file=file.name,
        cores=cores,
        rounds=rounds,
        invoke_ms=invoke_ms,
        loop_rate=loop,
        rate_ratio=statistics.median(ratios),
        rate_ratio_low=low,
        rate_ratio_high=high,
        work_ratio=statistics.median(work),
        delay_p50_ms=p50,
        delay_p90_ms=p90,
        delay_limit_ms=1.5 * invoke_ms + 1000 / CAMERA_RATE,
        memory_frames=0,
        memory_start_mb=None,
        memory_end_mb=None,
    )


@click.command()
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE.tflite...")
@click.option("--rounds", type=click.IntRange(2), default=20, show_default=True)
@click.option(
    "--runs",
    type=click.IntRange(10),
    default=150,
    show_default=True,
    help="Invokes, and frames of the loop, in a round.",
)
@click.option(
    "--memory-frames",
    type=click.IntRange(0),
    default=100_000,
    show_default=True,
    help="Frames over which the memory of the first file is watched.",
)
@out_option("camera_rate.csv")
def main(files: tuple[Path, ...], rounds: int, runs: int, memory_frames: int, out: Path) -> None:
    """Measure rate, delay and memory of the camera loop on one core."""
    cores = keep_to_one_core()
    classifiers = [Classifier(file) for file in files]
    rows = []
    for file, classifier in zip(files, classifiers, strict=True):
        row = measure(file, classifier, cores, rounds, runs)
        click.echo(
            f"{row.file}: {row.loop_rate:.1f} frames a second on {cores} core, "
            f"{row.rate_ratio:.3f} of the bare invoke's rate ({row.rate_ratio_low:.3f} to "
            f"{row.rate_ratio_high:.3f}), {row.work_ratio:.3f} by the processor's time; "
            f"delay {row.delay_p50_ms:.1f} ms, p90 {row.delay_p90_ms:.1f} ms (limit "
            f"{row.delay_limit_ms:.1f})"
        )
        rows.append(row)
    if memory_frames:
        start, end = memory(classifiers[0], memory_frames)
        rows[0] = dataclasses.replace(
            rows[0], memory_frames=memory_frames, memory_start_mb=start, memory_end_mb=end
        )
        if start is not None and end is not None:
            click.echo(
                f"{rows[0].file}: memory {start:.1f} MB, after {memory_frames} frames {end:.1f} MB"
            )
    write_csv(out, rows, data="noise of 640 x 480 pixels")
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
