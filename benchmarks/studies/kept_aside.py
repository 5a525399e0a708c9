"""What files of a comparison do with photographs that their networks have not learned.

    python -m benchmarks.studies.kept_aside TRIAL... --near DIR --other DIR --wrong wrong.csv

TRIAL is a folder that `lmedge compare --cross-fit --int8 --keep-runs` leaves for one training, with
`--folds` or without. Each int8 file classifies what was kept aside, as `lmedge predict` does, then
photographs of landmarks (NEAR) and of anything else. Of NEAR, folders named as one of its own
landmarks are left out; `--ignore` names those that have another name there. A row stands for a
trial, one for all folds of an assignment together, and the last for all trials. `--wrong` lists the
photographs that got another landmark.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from lmedge.classifier import Classifier, Prediction
from lmedge.errors import DataError
from lmedge.evaluation.calibration_error import expected_calibration_error
from lmedge.evaluation.metrics import macro_f1
from lmedge.evaluation.unknown import list_unknown_images
from lmedge.model_file import HEADS
from lmedge.report.csv_files import study_command, write_csv
from lmedge.train.run import Run

from .common import PATH, out_option, run_study
from .unknown_candidates import landmark_images

RESAMPLES = 2000
_NAME = re.compile(r"(?:fold-(\d+)-)?seed-(\d+)-[0-9a-f]+$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptRow:
    """One trial, or several together; shares are per cent.

    `*_cross_validated` and `*_float` are macro F1 that the run reports, of its learned photographs
    and of those kept aside; `*_int8` that of the file on the latter, `*_low` and `*_high` its 95 %
    interval, `*_wrong` its mistakes, and `*_calibration` its expected calibration error. A row of
    several has macro F1, mistakes and calibration of all their photographs as one set, and means of
    what the runs report. `kept` is the share of the photographs kept aside that pass as known,
    `near` and `other` that of unknown landmarks and of anything else.
    """

    assignment: str
    fold: str
    learned: int
    kept_aside: int
    landmark_cross_validated: float
    landmark_float: float
    landmark_int8: float
    landmark_low: float
    landmark_high: float
    landmark_wrong: int
    landmark_calibration: float
    category_cross_validated: float
    category_float: float
    category_int8: float
    category_low: float
    category_high: float
    category_wrong: int
    category_calibration: float
    gate_passed: int
    kept: float
    near: float
    other: float
    train_minutes: float
    export_minutes: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class WrongRow:
    """A photograph with another landmark in `times` of `asked` files that had not learned it."""

    photograph: str
    landmark: str
    times: int
    asked: int
    said: str
    least_probability: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """The answers of one file, or of several joined; true classes and guesses are (N,)."""

    assignment: str
    fold: str
    learned: int
    names: tuple[str, ...]
    truth: dict[str, npt.NDArray[np.int64]]
    guess: dict[str, npt.NDArray[np.int64]]
    marginal: dict[str, npt.NDArray[np.float32]]
    passed: npt.NDArray[np.bool_]
    said: tuple[tuple[str, float], ...]
    reported: dict[str, Any]
    gate_passed: int
    near: float
    other: float

    def row(self) -> KeptRow:
        """Return the figures of the table."""
        own: dict[str, Any] = {}
        for head in HEADS:
            truth, guess, marginal = self.truth[head], self.guess[head], self.marginal[head]
            own[f"{head}_int8"] = macro_f1(truth, guess, marginal.shape[1])
            own[f"{head}_low"], own[f"{head}_high"] = interval(self.names, truth, guess)
            own[f"{head}_wrong"] = int((truth != guess).sum())
            own[f"{head}_calibration"] = expected_calibration_error(marginal, truth)
        return KeptRow(
            assignment=self.assignment,
            fold=self.fold,
            learned=self.learned,
            kept_aside=len(self.names),
            gate_passed=self.gate_passed,
            kept=round(100 * float(self.passed.mean()), 1),
            near=round(100 * self.near, 1),
            other=round(100 * self.other, 1),
            **self.reported,
            **own,
        )


def interval(
    names: Sequence[str], truth: npt.NDArray[np.int64], guess: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Return the 95 % interval of macro F1, by bootstrap of photographs within each class.

    A photograph that several files have answered is drawn with all its answers. `truth` and `guess`
    are (N,), one for each of `names`.
    """
    rng, classes = np.random.default_rng(0), np.eye(max(truth.max(), guess.max()) + 1)
    _, first, place = np.unique(names, return_index=True, return_inverse=True)
    drawn = np.zeros((RESAMPLES, len(first)))
    for one in np.unique(truth):
        own = np.flatnonzero(truth[first] == one)
        drawn[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), RESAMPLES)
    weights, true = drawn[:, place], classes[truth]
    total = weights @ (true + classes[guess])
    hits = weights @ (true * (truth == guess)[:, None])
    f1 = np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0)
    low, high = np.percentile(f1[:, np.unique(truth)].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def measure(trial: Path, near: Sequence[Path], other: Sequence[Path]) -> Measured:
    """Return the answers of the file of one trial."""
    named, run = _NAME.search(trial.name), Run.open(trial / "run")
    if named is None:
        raise DataError(f"{trial}: is not a trial of `lmedge compare`; name its folder")
    classifier = Classifier(trial / "model.tflite")
    entries = run.entries("test")
    found = [classifier.classify_file(entry.image.path) for entry in entries]
    names = {"landmark": run.taxonomy.landmarks, "category": run.taxonomy.categories}
    guess = {"landmark": [one.landmark for one in found], "category": [o.category for o in found]}
    metrics, result = run.metrics(), json.loads((trial / "result.json").read_text("utf-8"))
    reported: dict[str, Any] = {
        f"{head}_{name}": float(metrics[part][head]["macro_f1"])
        for head in HEADS
        for name, part in (("cross_validated", "cross_validated"), ("float", "test"))
    }
    reported["train_minutes"] = result["train_seconds"] / 60
    reported["export_minutes"] = result["int8"]["export_seconds"] / 60
    return Measured(
        assignment=named[2],
        fold=named[1] or "",
        learned=len(run.entries("train")),
        names=tuple(f"{e.image.landmark}/{e.image.path.name}" for e in entries),
        truth={head: run.labels("test")[head] for head in HEADS},
        guess={h: np.array([names[h].index(one) for one in guess[h]], np.int64) for h in HEADS},
        marginal={h: np.stack([getattr(one, f"{h}_marginal") for one in found]) for h in HEADS},
        passed=np.array([one.known for one in found]),
        said=tuple((one.landmark, one.landmark_probability) for one in found),
        reported=reported,
        gate_passed=int(result["int8"]["gate_passed"]),
        near=_passing(classifier.classify_file(path) for path in near),
        other=_passing(classifier.classify_file(path) for path in other),
    )


def _passing(predictions: Iterable[Prediction]) -> float:
    passed = [one.known for one in predictions]
    return float(np.mean(passed)) if passed else 0.0


def joined(parts: Sequence[Measured], assignment: str) -> Measured:
    """Return several files as one: their photographs together, means of what they report."""
    return Measured(
        assignment=assignment,
        fold="all",
        learned=round(float(np.mean([one.learned for one in parts]))),
        names=tuple(name for one in parts for name in one.names),
        truth={h: np.concatenate([one.truth[h] for one in parts]) for h in HEADS},
        guess={h: np.concatenate([one.guess[h] for one in parts]) for h in HEADS},
        marginal={h: np.concatenate([one.marginal[h] for one in parts]) for h in HEADS},
        passed=np.concatenate([one.passed for one in parts]),
        said=tuple(answer for one in parts for answer in one.said),
        reported={
            key: float(np.mean([one.reported[key] for one in parts])) for key in parts[0].reported
        },
        gate_passed=sum(one.gate_passed for one in parts),
        near=float(np.mean([one.near for one in parts])),
        other=float(np.mean([one.other for one in parts])),
    )


def wrong_photographs(whole: Measured) -> Iterator[WrongRow]:
    """Yield the photographs that got another landmark, the most often wrong first."""
    asked = collections.Counter(whole.names)
    found: dict[str, list[tuple[str, float]]] = {}
    missed = whole.truth["landmark"] != whole.guess["landmark"]
    for name, said, wrong in zip(whole.names, whole.said, missed, strict=True):
        if wrong:
            found.setdefault(name, []).append(said)
    for name, answers in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        landmark, _, photograph = name.rpartition("/")
        yield WrongRow(
            photograph=photograph,
            landmark=landmark,
            times=len(answers),
            asked=asked[name],
            said=" ".join(sorted({label for label, _ in answers})),
            least_probability=min(probability for _, probability in answers),
        )


@click.command()
@click.argument("trials", nargs=-1, required=True, type=PATH, metavar="TRIAL...")
@click.option("--near", type=PATH, required=True, help="Landmarks that the files do not know.")
@click.option("--other", type=PATH, required=True, help="Images of anything else.")
@click.option("--ignore", multiple=True, metavar="FOLDER", help="A known landmark in NEAR.")
@click.option("--each", default=10, show_default=True, help="Images of each landmark of NEAR.")
@click.option("--wrong", type=PATH, required=True, help="The CSV file of wrong photographs.")
@out_option("kept_aside.csv")
def main(
    trials: tuple[Path, ...],
    near: Path,
    other: Path,
    ignore: tuple[str, ...],
    each: int,
    wrong: Path,
    out: Path,
) -> None:
    """Measure the files of TRIALs and write a row for each, for each assignment, and for all."""
    known = {name for trial in trials for name in Run.open(trial / "run").taxonomy.landmarks}
    strange = landmark_images(near, {*ignore, *known}, each)
    others = list_unknown_images(other)
    found = []
    for trial in trials:
        found.append(measure(trial, strange, others))
        click.echo(f"{trial.name}: done")
    rows, whole = [one.row() for one in found], joined(found, "all")
    assignments = sorted({one.assignment for one in found})
    for seed in assignments if len(assignments) > 1 else ():
        rows.append(joined([one for one in found if one.assignment == seed], seed).row())
    if len(found) > 1:
        rows.append(whole.row())
    data = f"{len(strange)} images of unknown landmarks, {len(others)} of other things"
    stand_ins = dict.fromkeys(trials, "TRIAL") | {near: "NEAR", other: "DIR"}
    command = study_command(sys.argv, stand_ins)
    write_csv(out, rows, data=data, command=command)
    write_csv(wrong, list(wrong_photographs(whole)), data=data, command=command)


if __name__ == "__main__":
    run_study(main)
