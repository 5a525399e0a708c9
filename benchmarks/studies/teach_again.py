"""Each landmark taken out of a taught file, and taught again.

    python -m benchmarks.studies.teach_again DATA --base FILE --out teach_again.csv

`lmedge teach --add` begins from a file that never knew the landmark. Its bytes are compared with
those of a file that was taught all photographs at once.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from lmedge.evaluation.metrics import score_head
from lmedge.report.csv_files import study_command, write_csv
from lmedge.teach.base import Base
from lmedge.teach.features import FeatureSet
from lmedge.teach.fitting import Teaching
from lmedge.teach.gate import honest_guesses
from lmedge.teach.photographs import ReadPhotographs, read_photographs
from lmedge.teach.teaching import Lesson, Taught, teach_file, write_taught

from .common import PATH, out_option, run_study

NAME = "taught.tflite"  # every file has it: the name stands in the card


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgainRow:
    """One landmark; F1 of answers without the photograph itself, both heads decoded together.

    `old_before` and `old_after` are the macro F1 of the photographs of all other landmarks, before
    and after this one was taught. `refused` counts the problems that the gate found, of which a
    landmark that loses beyond doubt is one.
    """

    landmark: str
    photographs: int
    same_bytes: bool
    removed_same_bytes: bool
    refused: int
    macro_f1: float
    own_f1: float
    old_before: float
    old_after: float


def only(read: ReadPhotographs, names: set[str]) -> ReadPhotographs:
    """Return the photographs of some landmarks."""
    found = read.found
    kept = FeatureSet(
        hierarchy={name: found.hierarchy[name] for name in sorted(names)},
        landmarks={name: found.landmarks[name] for name in sorted(names)},
        unknown=found.unknown,
        zero=found.zero,
    )
    return dataclasses.replace(read, found=kept)


def measure(base: Base, read: ReadPhotographs, whole: Taught, name: str, folder: Path) -> AgainRow:
    """Take one landmark out, and teach it again."""
    others = {*read.found.landmarks} - {name}
    path = folder / NAME
    without = teach_file(base, only(read, others), Lesson(), path)
    write_taught(without, Lesson(force=True))
    again = teach_file(Base.open(path), only(read, {name}), Lesson(add=True), path)
    path.write_bytes(whole.file.data)
    removed = teach_file(Base.open(path), None, Lesson(remove=[name]), path)
    truth, before, after = _old(without.teaching, again.teaching, name)
    names = without.teaching.taxonomy.landmarks
    scores = again.teaching.scores["landmark"]
    return AgainRow(
        landmark=name,
        photographs=len(read.found.landmarks[name]),
        same_bytes=again.file.data == whole.file.data,
        removed_same_bytes=removed.file.data == without.file.data,
        refused=len(again.problems),
        macro_f1=scores.macro_f1,
        own_f1=next(one.f1 for one in scores.classes if one.name == name),
        old_before=score_head(truth, before, names).macro_f1,
        old_after=_old_f1(truth, after, names),
    )


def _old(
    before: Teaching, after: Teaching, name: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return truth and guesses for the photographs of the other landmarks; the new one is last."""
    names, more = before.taxonomy.landmarks, after.taxonomy.landmarks
    new = more.index(name)
    order = np.array([names.index(one) if one != name else len(names) for one in more])
    kept = after.truth["landmark"] != new
    guess = order[honest_guesses(after)[kept]]
    return before.truth["landmark"], honest_guesses(before).astype(np.int64), guess


def _old_f1(
    truth: npt.NDArray[np.int64], guess: npt.NDArray[np.int64], names: tuple[str, ...]
) -> float:
    """Return macro F1 over the old landmarks, with guesses of the new one among their mistakes."""
    scores = score_head(truth, guess, (*names, "new")).classes
    return float(np.mean([one.f1 for one in scores if one.support]))


@click.command()
@click.argument("data", type=PATH)
@click.option("--base", type=PATH, help="The base.  [default: the one that comes with lmedge]")
@out_option("teach_again.csv")
def main(data: Path, base: Path | None, out: Path) -> None:
    """Take each landmark of DATA out of a file that knows all, and teach it again."""
    opened = Base.open(base)
    read = read_photographs(data, opened.backbone)
    rows = []
    words = {data: f"DATA/{data.name}"} | ({} if base is None else {base: "FILE"})
    with tempfile.TemporaryDirectory() as folder:
        whole = teach_file(opened, read, Lesson(), Path(folder) / NAME)
        for name in whole.teaching.taxonomy.landmarks:
            rows.append(measure(opened, read, whole, name, Path(folder)))
            click.echo(rows[-1])
    about = f"{data.name}: {read.found.count} photographs"
    write_csv(out, rows, data=about, command=study_command(sys.argv, words))


if __name__ == "__main__":
    run_study(main)
