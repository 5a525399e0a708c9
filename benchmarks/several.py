"""Several files beside each other: speed in turns, answers picture by picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import numpy.typing as npt

from lmedge import files
from lmedge.classifier import Classifier
from lmedge.dataset_folder import LabelledPicture
from lmedge.errors import DataError
from lmedge.image import read_picture
from lmedge.interval import paired_interval
from lmedge.matching import split_known
from lmedge.metrics import macro_f1
from lmedge.progress import progress

from .latency import Effort, example_frame, take_turns
from .latency_ratios import ratio_interval
from .palette import BLUE, GREY
from .plots import save
from .results import machine_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class Entry:
    """One file. Ratios and differences are against the first, with their 95 % intervals.

    Times are of a 640 x 480 frame to labels, in milliseconds; macro F1 of the landmark, decoded
    together, None without pictures.
    """

    name: str
    bytes: int
    p50_ms: float
    p90_ms: float
    ratio: float
    ratio_interval: tuple[float, float]
    macro_f1: float | None = None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    same_answer: float | None = None


@dataclasses.dataclass(frozen=True)
class Together:
    """All files, in the order given, on the same frames and the same pictures."""

    runs: int
    pictures: int
    entries: tuple[Entry, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the content of comparison.json; docs/formats.md names its fields."""
        return {"schema": SCHEMA, "machine": machine_line(), **dataclasses.asdict(self)}


def compare_files(
    paths: Sequence[Path], threads: int, effort: Effort, pictures: Sequence[LabelledPicture]
) -> Together:
    """Measure files in turns, then classify every picture with each of them.

    Raises ModelFileError for a file that cannot be used, DataError when the files do not know the
    same landmarks and pictures are given, or none of them can be read.
    """
    classifiers = [Classifier(path, threads=threads) for path in paths]
    frame = example_frame()

    def task(classifier: Classifier) -> Any:
        return lambda: classifier.classify(frame)

    tasks = tuple(task(classifier) for classifier in classifiers)
    take_turns(tasks, Effort(10, 0.3))
    times = take_turns(tasks, effort).T / 1e6
    truth, said = _answers(classifiers, pictures) if pictures else (np.zeros(0, np.int64), [])
    names = [path.name for path in paths]
    if len(set(names)) < len(names):  # told apart by their folders
        names = [click.format_filename(path) for path in paths]
    entries = [
        _entry(name, classifier, times, truth, said, number)
        for number, (name, classifier) in enumerate(zip(names, classifiers, strict=True))
    ]
    return Together(times.shape[1], len(truth), tuple(entries))


def _answers(
    classifiers: Sequence[Classifier], pictures: Sequence[LabelledPicture]
) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.int64]]]:
    """Return the true landmarks (N,) and what each file says, (N,) each."""
    taxonomy = classifiers[0].taxonomy
    for classifier in classifiers[1:]:
        if classifier.taxonomy != taxonomy:
            raise DataError(
                f"{classifier.model.path} knows other landmarks than {classifiers[0].model.path}; "
                "compare files of the same landmarks, or leave out --data"
            )
    known, _ = split_known(taxonomy, pictures)
    index = {name: number for number, name in enumerate(taxonomy.landmarks)}
    truth: list[int] = []
    said: list[list[int]] = [[] for _ in classifiers]
    with progress("classifying", len(known)) as advance:
        for picture in known:
            advance()
            try:
                shown = read_picture(picture.path)
            except DataError:
                continue
            truth.append(index[picture.landmark])
            for own, classifier in zip(said, classifiers, strict=True):
                own.append(int(classifier.classify(shown).joint.argmax()))
    if not truth:
        raise DataError(f"none of the {len(known)} pictures could be read")
    return np.array(truth, np.int64), [np.array(own, np.int64) for own in said]


def _entry(
    name: str,
    classifier: Classifier,
    times: npt.NDArray[np.float64],
    truth: npt.NDArray[np.int64],
    said: Sequence[npt.NDArray[np.int64]],
    number: int,
) -> Entry:
    own, first = times[number], times[0]
    p50, p90 = np.percentile(own, (50, 90)).tolist()
    timed = Entry(
        name=name,
        bytes=len(classifier.model.data),
        p50_ms=p50,
        p90_ms=p90,
        ratio=p50 / float(np.median(first)),
        ratio_interval=ratio_interval(own, first),
    )
    if not said:
        return timed
    classes = len(classifier.taxonomy.landmarks)
    score = macro_f1(truth, said[number], classes)
    return dataclasses.replace(
        timed,
        macro_f1=score,
        difference=score - macro_f1(truth, said[0], classes),
        difference_interval=paired_interval(truth, said[0], said[number], classes),
        same_answer=float((said[number] == said[0]).mean()),
    )


def write_comparison(together: Together, folder: Path) -> list[str]:
    """Write comparison.json and, where matplotlib is, the plot of F1 against latency."""
    files.write_json(folder / "comparison.json", together.as_dict())
    names = ["comparison.json"]
    if together.pictures:
        try:
            save(folder / "pareto", (5.4, 3.4), lambda axes: _pareto(together, axes))
        except ImportError:
            return names
        names += ["pareto.png", "pareto.svg"]
    return names


def _pareto(together: Together, axes: Axes) -> None:
    """Draw macro F1 against the median time, and the front of the best of both.

    The area of a dot is the size of its file.
    """
    largest = max(entry.bytes for entry in together.entries)
    ordered = sorted(together.entries, key=lambda entry: entry.p50_ms)
    front: list[Entry] = []  # nothing is both faster and more often right
    for entry in ordered:
        if not front or (entry.macro_f1 or 0.0) > (front[-1].macro_f1 or 0.0):
            front.append(entry)
    axes.plot([one.p50_ms for one in front], [one.macro_f1 or 0.0 for one in front], "--",
              color=GREY, lw=1, drawstyle="steps-post")  # fmt: skip
    for number, entry in enumerate(ordered):
        assert entry.macro_f1 is not None
        area = 40 + 500 * entry.bytes / largest
        axes.scatter([entry.p50_ms], [entry.macro_f1], s=area, color=BLUE, alpha=0.5)
        label = f"{entry.name}\n{entry.bytes / 1e6:.1f} MB"
        # Above and below in turn: neighbours would write over each other.
        axes.annotate(label, (entry.p50_ms, entry.macro_f1), fontsize=8, ha="center",
                      xytext=(0, -14 if number % 2 else 14), textcoords="offset points",
                      va="top" if number % 2 else "bottom")  # fmt: skip
    axes.margins(0.3, 0.35)
    axes.set(xlabel="frame to labels, median milliseconds", ylabel="landmark macro F1")
    axes.grid(color="#888888", alpha=0.3, lw=0.6)
