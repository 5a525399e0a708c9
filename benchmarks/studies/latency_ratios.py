"""Ratio of the times of several files, in turns in one process on one thread.

    python -m benchmarks.studies.latency_ratios FILE.tflite OTHER.tflite...

Any .tflite will do. Times of a shared machine drift; a ratio of runs that took turns does not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from lmedge.benchmarks.latency import Effort, example_frame, take_turns
from lmedge.classifier import Classifier
from lmedge.errors import ModelFileError
from lmedge.evaluation.intervals import ratio_interval
from lmedge.model_file import IDENTIFIER
from lmedge.report.csv_files import write_csv
from lmedge.runtime import load_runtime

from .common import PATH, out_option, run_study

WARM_UP_ROUNDS = 20
Times = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Contestant:
    """Something that takes time, and the size of its file in bytes."""

    name: str
    bytes: int
    task: Callable[[], object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ratio:
    """One row: `ratio` is this median over the first one's, with its 95 % interval."""

    name: str
    bytes: int
    rounds: int
    p50_ms: float
    p90_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float


def bare_invoke(path: Path) -> Contestant:
    """Load any .tflite, fill its inputs with noise of their dtypes, and invoke it on one thread.

    Raises ModelFileError, naming the file, when the runtime cannot load it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror})") from error
    if data[4:8] != IDENTIFIER:
        raise ModelFileError(f"{path}: not a TFLite file")
    _, interpreter_class = load_runtime()
    try:
        interpreter = interpreter_class(model_content=data, num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path}: the runtime cannot load it ({error})") from error
    for entry in interpreter.get_input_details():
        interpreter.set_tensor(entry["index"], noise(tuple(entry["shape"]), entry["dtype"]))

    def invoke(_keep: bytes = data) -> None:  # the runtime reads the bytes in place
        interpreter.invoke()

    return Contestant(path.name, len(data), invoke)


def whole_classification(path: Path) -> Contestant | None:
    """Return `Classifier.classify` on a 640 x 480 frame; None unless it is a file of ours."""
    try:
        classifier = Classifier(path)
    except ModelFileError:
        return None
    frame = example_frame()
    name = f"{path.name}: classify 640 x 480"
    return Contestant(name, len(classifier.model.data), lambda: classifier.classify(frame))


def measure(contestants: Sequence[Contestant], rounds: int) -> Times:
    """Return (contestants, rounds) milliseconds, of contestants that took turns."""
    tasks = [contestant.task for contestant in contestants]
    take_turns(tasks, Effort(runs=WARM_UP_ROUNDS, seconds=0.0))
    return take_turns(tasks, Effort(runs=rounds, seconds=0.0)).T / 1e6


def summarise(contestants: Sequence[Contestant], taken: Times) -> list[Ratio]:
    """Return one row a contestant; the first is the measure of all."""
    rows = []
    for contestant, times in zip(contestants, taken, strict=True):
        p50, p90 = np.percentile(times, (50, 90)).tolist()
        low, high = ratio_interval(times, taken[0])
        ratio = p50 / float(np.median(taken[0]))
        rows.append(
            Ratio(
                name=contestant.name,
                bytes=contestant.bytes,
                rounds=len(times),
                p50_ms=p50,
                p90_ms=p90,
                ratio=ratio,
                ratio_low=low,
                ratio_high=high,
            )
        )
    return rows


def noise(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """Return the same noise each time, over the whole range of an integer dtype."""
    random = np.random.default_rng(0)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return random.standard_normal(shape).astype(dtype)


@click.command()
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE.tflite...")
@click.option("--rounds", type=click.IntRange(1), default=300, show_default=True)
@out_option("latency_ratios.csv")
def main(files: tuple[Path, ...], rounds: int, out: Path) -> None:
    """Compare files, each against the first."""
    contestants = [bare_invoke(path) for path in files]
    classification = whole_classification(files[0])
    if classification is not None:
        contestants.append(classification)
    rows = summarise(contestants, measure(contestants, rounds))
    width = max(len(row.name) for row in rows)
    click.echo(f"{'':{width}}  {'MB':>6}  {'p50 ms':>8}  {'p90 ms':>8}  ratio (95 %)")
    for row in rows:
        click.echo(
            f"{row.name:{width}}  {row.bytes / 1e6:6.2f}  {row.p50_ms:8.3f}  {row.p90_ms:8.3f}  "
            f"{row.ratio:.3f} ({row.ratio_low:.3f} to {row.ratio_high:.3f})"
        )
    write_csv(out, rows, data="noise; " + ", ".join(path.name for path in files))
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
