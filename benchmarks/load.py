"""The time of each stage, the effect of more threads, and the memory of a file."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from lmedge import machine
from lmedge.classifier import Classifier
from lmedge.image import decode_image, prepare

from .latency import FRAME_SIZE, Effort, Spread, take_turns

STAGES = ("decode", "preprocess", "invoke", "postprocess")
OFFLINE_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThreadTime:
    """Median invoke time with so many threads."""

    threads: int
    invoke_p50_ms: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Load:
    """The load of a file on this machine.

    Attributes:
        stages_ms: Milliseconds of each of STAGES for one JPEG of 640 x 480.
        sweep: Invoke times by threads.
        offline_per_second: Images a second with one classifier on each of `offline_workers` cores.
        offline_workers: The number of cores.
        steady_mb: Memory of the process in MB after the measurements, None if not available.
        peak_mb: The most memory of the process in MB, None if not available.
    """

    stages_ms: dict[str, Spread]
    sweep: tuple[ThreadTime, ...]
    offline_per_second: float
    offline_workers: int
    steady_mb: float | None
    peak_mb: float | None

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)


def example_jpeg() -> bytes:
    """Return a smooth image of 640 x 480 as a JPEG of quality 90, always the same."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (24, 32, 3), np.uint8)
    frame = cv2.resize(coarse, FRAME_SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    _, encoded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return encoded.tobytes()


def measure_load(path: Path, threads: int, effort: Effort, runtime: str | None = None) -> Load:
    """Measure a file; each part takes a tenth of `effort`."""
    part = effort.tenth()
    make = functools.partial(Classifier, path, runtime=runtime)
    return Load(
        stages_ms=_stages(make(threads=threads), part),
        sweep=tuple(_sweep(make, part)),
        offline_per_second=_offline(make, min(OFFLINE_SECONDS, effort.seconds)),
        offline_workers=machine.cores(),
        steady_mb=_megabytes(machine.resident_bytes()),
        peak_mb=_megabytes(machine.peak_bytes()),
    )


def _stages(classifier: Classifier, effort: Effort) -> dict[str, Spread]:
    model, interpreter, encoded = classifier.model, classifier.interpreter, example_jpeg()
    frame = decode_image(encoded, "example", model.size)
    interpreter.run(prepare(frame, model.size, model.resize))
    outputs = interpreter.outputs()
    tasks = (
        lambda: decode_image(encoded, "example", model.size),
        lambda: interpreter.set_image(prepare(frame, model.size, model.resize)),
        interpreter.invoke,
        lambda: classifier.decode(*outputs),
    )
    measured = take_turns(tasks, effort)
    return {name: Spread.of(measured[:, n]) for n, name in enumerate(STAGES)}


def _sweep(make: Callable[..., Classifier], effort: Effort) -> list[ThreadTime]:
    cores = machine.cores()
    counts = sorted({1, cores, *(n for n in (2, 4, 8, 16) if n <= cores)})
    interpreters = [make(threads=count).interpreter for count in counts]
    for interpreter in interpreters:
        interpreter.invoke()
    measured = take_turns(tuple(one.invoke for one in interpreters), effort)
    return [
        ThreadTime(threads=count, invoke_p50_ms=float(np.median(measured[:, n])) / 1e6)
        for n, count in enumerate(counts)
    ]


def _offline(make: Callable[..., Classifier], seconds: float) -> float:
    """Return images a second with a classifier on every core."""
    workers = machine.cores()
    frame = decode_image(example_jpeg(), "example")
    classifiers = [make() for _ in range(workers)]
    for classifier in classifiers:
        classifier.classify(frame)
    began = time.perf_counter()

    def work(classifier: Classifier) -> int:
        count = 0
        while count == 0 or time.perf_counter() - began < seconds:
            classifier.classify(frame)
            count += 1
        return count

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        total = sum(pool.map(work, classifiers))
    return total / (time.perf_counter() - began)


def _megabytes(count: int | None) -> float | None:
    return None if count is None else count / 1e6
