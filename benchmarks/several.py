"""Several files or runtimes side by side: latency in turns, predictions image by image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmedge.errors import DataError
from lmedge.evaluation.folders import LabelledImage, split_known
from lmedge.evaluation.intervals import paired_interval, ratio_interval
from lmedge.evaluation.metrics import macro_f1, score_head
from lmedge.image import read_image
from lmedge.machine import cores
from lmedge.progress import progress
from lmedge.report.csv_files import machine_line
from lmedge.report.terminal import count_images, first_names
from lmedge.taxonomy import counted

from .conditions import Conditions, Moment
from .contestants import Contestant, Runtime, contestants
from .latency import Effort, Samples, Spread, example_frame, take_timed_turns

SCHEMA = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedFile:
    """A file in a runtime. Ratios and differences are against the first, with 95 % intervals.

    Times are those from a 640 x 480 frame to labels, in milliseconds. Macro F1 is that of the
    landmark decoded together with the category, over the landmarks that have images;
    `macro_f1_seen` is over those that were predicted too. None without images.
    """

    name: str
    runtime: str
    bytes: int
    p50_ms: float
    p90_ms: float
    ratio: float
    ratio_interval: tuple[float, float]
    macro_f1: float | None = None
    macro_f1_seen: float | None = None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    same_answer: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkComparison:
    """All files, in the order given, on the same frames and the same images.

    Attributes:
        machine: processor, cores, Python and runtime.
        runs: of each entry.
        pictures: the number of images that were classified.
        entries: the files.
        noisy: the reasons to doubt the times, none on a quiet machine.
        samples: (runs, entries) nanoseconds, in the order they were taken.
        absent: the landmarks that have no image, if there are images.
        left_out: the number of images that the files do not know, or that cannot be read.
    """

    machine: str
    runs: int
    pictures: int
    entries: tuple[ComparedFile, ...]
    noisy: tuple[str, ...]
    samples: Samples = dataclasses.field(repr=False, compare=False)
    absent: tuple[str, ...] = ()
    left_out: int = 0

    def notes(self) -> list[str]:
        """Return lines about landmarks without images, and about images without a prediction."""
        lines = []
        if self.absent:
            count = counted(len(self.absent), "landmark has", "landmarks have")
            seen = ", ".join(f"{entry.macro_f1_seen or 0.0:.3f}" for entry in self.entries)
            lines.append(
                f"{count} no image ({first_names(self.absent)}); macro F1 is over the others, and "
                f"over all that were predicted too: {seen}"
            )
        if self.left_out:
            images = count_images(self.left_out)
            lines.append(f"skipped, not known to the files or not readable: {images}")
        return lines

    def titles(self) -> list[str]:
        """Name each entry by its file or its runtime, or by both if both differ."""
        if len({entry.runtime for entry in self.entries}) == 1:
            return [entry.name for entry in self.entries]
        if len({entry.name for entry in self.entries}) == 1:
            return [entry.runtime for entry in self.entries]
        return [f"{entry.name}, {entry.runtime}" for entry in self.entries]

    def as_dict(self) -> dict[str, Any]:
        """Return the content of comparison.json; docs/formats.md names its fields."""
        values = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "samples"
        }
        entries = [dataclasses.asdict(entry) for entry in self.entries]
        return {"schema": SCHEMA, **values, "entries": entries}


def compare_files(
    paths: Sequence[Path],
    threads: int,
    effort: Effort,
    images: Sequence[LabelledImage],
    runtimes: Sequence[Runtime] = (),
) -> BenchmarkComparison:
    """Measure files in turns, then classify every image with each of them.

    Args:
        paths: The files.
        threads: Threads of each runtime.
        effort: Runs and seconds of the measurement.
        images: Labelled images; without any, latency alone is measured.
        runtimes: Runtimes that each file runs in, in processes of their own.

    Raises:
        ModelFileError: A file cannot be used.
        MissingDependencyError: A runtime is not installed.
        DataError: The files have different landmarks, or no image can be read.
    """
    with contestants(paths, runtimes, threads) as rivals:
        if images:  # before the minutes of measuring
            _check_same_landmarks(rivals)
            split_known(rivals[0].model.taxonomy, images)
        frame = example_frame()
        for rival in rivals:
            rival.show(frame)
        timers = [rival.time for rival in rivals]
        take_timed_turns(timers, effort.warm_up())
        before = _now(rivals)
        samples = take_timed_turns(timers, effort)
        after = _now(rivals)
        times = samples.T / 1e6
        truth, predicted = _predictions(rivals, images) if images else (np.zeros(0, np.int64), [])
    entries = [
        _entry(rival, times, truth, predicted, number) for number, rival in enumerate(rivals)
    ]
    tail = max(Spread.of(own).tail for own in samples.T)
    doubts = Conditions(before=before, after=after).doubts(tail, cores())
    landmarks = rivals[0].model.taxonomy.landmarks
    return BenchmarkComparison(
        machine=machine_line(),
        runs=len(samples),
        pictures=len(truth),
        entries=tuple(entries),
        noisy=tuple(doubts),
        samples=samples,
        absent=tuple(np.delete(landmarks, truth).tolist()) if images else (),
        left_out=len(images) - len(truth),
    )


def _now(rivals: Sequence[Contestant]) -> Moment:
    """Read the clocks; work of the rivals in their own processes counts as our own."""
    return Moment.now(helpers=sum(rival.helper_seconds for rival in rivals))


def _check_same_landmarks(rivals: Sequence[Contestant]) -> None:
    first = rivals[0].model
    for rival in rivals[1:]:
        if rival.model.taxonomy != first.taxonomy:
            raise DataError(
                f"{rival.model.path}: its landmarks are others than those of {first.path}; "
                "compare files of the same landmarks, or leave out --data"
            )


def _predictions(
    rivals: Sequence[Contestant], images: Sequence[LabelledImage]
) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.int64]]]:
    """Return the true landmarks, (N,), and the predictions of each rival, (N,) each."""
    taxonomy = rivals[0].model.taxonomy
    known, _ = split_known(taxonomy, images)
    index = {name: number for number, name in enumerate(taxonomy.landmarks)}
    truth: list[int] = []
    predicted: list[list[int]] = [[] for _ in rivals]
    sides = {rival.model.size for rival in rivals}
    with progress("classifying", len(known)) as advance:
        for image in known:
            advance()
            try:  # each as `lmedge predict` decodes it for that file
                shown = {side: read_image(image.path, side) for side in sides}
            except DataError:
                continue
            truth.append(index[image.landmark])
            for own, rival in zip(predicted, rivals, strict=True):
                own.append(int(rival.joint(shown[rival.model.size]).argmax()))
    if not truth:
        raise DataError(f"none of the {len(known)} images could be read")
    return np.array(truth, np.int64), [np.array(own, np.int64) for own in predicted]


def _entry(
    rival: Contestant,
    times: npt.NDArray[np.float64],
    truth: npt.NDArray[np.int64],
    predicted: Sequence[npt.NDArray[np.int64]],
    number: int,
) -> ComparedFile:
    own, first = times[number], times[0]
    p50, p90 = np.percentile(own, (50, 90)).tolist()
    timed = ComparedFile(
        name=rival.name,
        runtime=rival.runtime,
        bytes=len(rival.model.data),
        p50_ms=p50,
        p90_ms=p90,
        ratio=p50 / float(np.median(first)),
        ratio_interval=ratio_interval(own, first),
    )
    if not predicted:
        return timed
    landmarks = rival.model.taxonomy.landmarks
    classes = len(landmarks)
    score = score_head(truth, predicted[number], landmarks)
    return dataclasses.replace(
        timed,
        macro_f1=score.macro_f1,
        macro_f1_seen=score.macro_f1_seen,
        difference=score.macro_f1 - macro_f1(truth, predicted[0], classes),
        difference_interval=paired_interval(truth, predicted[0], predicted[number], classes),
        same_answer=float((predicted[number] == predicted[0]).mean()),
    )
