"""The heads that a training made against heads in closed form on the backbone that it trained.

    python -m benchmarks.studies.taught_or_trained runs/compare/runs/*

Each FOLDER is one of `lmedge compare --int8 --keep-runs`: it holds run/ and model.tflite. The
closed form learns the int8 features of the photographs that the run has learned, as `lmedge teach`
does. Both are scored on the test part, which neither has seen.
"""

from __future__ import annotations

import collections
import dataclasses
import sys
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from lmedge.decoding import Decoding, joint_probabilities
from lmedge.errors import RunError
from lmedge.evaluation.metrics import macro_f1
from lmedge.interpreter import Interpreter
from lmedge.model_file import ModelFile, read_model
from lmedge.report.csv_files import study_command, write_csv
from lmedge.teach.backbone import FeatureGraph, FeatureReader
from lmedge.teach.features import feature_set, unit
from lmedge.teach.fitting import teach_heads
from lmedge.train.run import Run

from .common import PATH, out_option, run_study

Places = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers:
    """Landmarks of the test part: the truth, and what either kind of heads predicts, (N,)."""

    name: str
    truth: Places
    trained: Places
    taught: Places


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One run, or all: `gained` are photographs that only the taught heads are right on.

    `p` is the probability of such a difference, or a larger one, by chance (McNemar, exact).
    """

    run: str
    photographs: int
    trained_f1: float
    taught_f1: float
    trained_wrong: int
    taught_wrong: int
    gained: int
    lost: int
    p: float


def answers_of(folder: Path) -> Answers:
    """Run the file of one folder, teach its backbone anew, and run that on the test part too."""
    run, model = Run.open(folder / "run"), read_model(folder / "model.tflite")
    run.check_finished()
    if not run.entries("test"):
        raise RunError(f"{run.folder} has no test images; name other runs")
    guesses = [_trained(run, model), _taught(run, model)]
    truth = run.labels("test")["landmark"]
    return Answers(name=folder.name, truth=truth, trained=guesses[0], taught=guesses[1])


def _trained(run: Run, model: ModelFile) -> Places:
    interpreter, weight = Interpreter(model), Decoding.of(model).category_weight
    found = [interpreter.run(image) for image in run.images("test")]
    landmark, category = (np.stack(one) for one in list(zip(*found, strict=True))[:2])
    parents = model.taxonomy.parent_index
    joint = joint_probabilities(landmark, category, parents, weight)
    return np.asarray(joint.argmax(axis=1), np.int64)


def _taught(run: Run, model: ModelFile) -> Places:
    graph = FeatureGraph.of(model)
    reader = FeatureReader(graph)
    rows = collections.defaultdict(list)
    for entry, image in zip(run.entries("train"), run.images("train"), strict=True):
        rows[entry.image.landmark].append(reader.read_prepared(image))
    hierarchy = run.taxonomy.hierarchy()
    teaching = teach_heads(feature_set(hierarchy, rows, [], zero=graph.zero, width=graph.width))
    tested = np.stack([reader.read_prepared(image) for image in run.images("test")])
    found = teaching.heads.outputs(unit(tested, graph.zero))
    weight = teaching.decoding.category_weight
    parents = teaching.taxonomy.parent_index
    joint = joint_probabilities(found["landmark"], found["category"], parents, weight)
    return np.asarray(joint.argmax(axis=1), np.int64)


def row(one: Answers) -> Row:
    """Return the figures of one run or of several together."""
    trained, taught = one.trained == one.truth, one.taught == one.truth
    gained, lost = int((taught & ~trained).sum()), int((trained & ~taught).sum())
    classes = int(max(one.truth.max(), one.trained.max(), one.taught.max())) + 1
    return Row(
        run=one.name,
        photographs=len(one.truth),
        trained_f1=macro_f1(one.truth, one.trained, classes),
        taught_f1=macro_f1(one.truth, one.taught, classes),
        trained_wrong=int((~trained).sum()),
        taught_wrong=int((~taught).sum()),
        gained=gained,
        lost=lost,
        p=float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0,
    )


def together(found: list[Answers]) -> Answers:
    """Return the answers of all runs as those of one."""
    return Answers(
        name="all",
        **{
            name: np.concatenate([getattr(one, name) for one in found])
            for name in ("truth", "trained", "taught")
        },
    )


@click.command()
@click.argument("folders", nargs=-1, required=True, type=PATH, metavar="FOLDER...")
@out_option("taught_or_trained.csv")
def main(folders: tuple[Path, ...], out: Path) -> None:
    """Compare both kinds of heads on the test part of every FOLDER."""
    found = []
    for folder in folders:
        found.append(answers_of(folder))
        one = row(found[-1])
        click.echo(f"{one.run}: trained {one.trained_wrong} wrong, taught {one.taught_wrong}")
    rows = [row(one) for one in (*found, together(found))]
    command = study_command(sys.argv, dict.fromkeys(folders, "FOLDER"))
    write_csv(out, rows, data=f"the test parts of {len(folders)} runs", command=command)
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
