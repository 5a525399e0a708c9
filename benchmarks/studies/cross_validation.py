"""Train, export and measure over the folds of a data set, by the commands a user would type.

Run it as `python -m benchmarks.studies.cross_validation DATA --weights FILE.h5`. A fold that is
done is not done again: the script goes on where it was stopped.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from lmedge.errors import LmedgeError
from lmedge.evaluation.folders import LabelledImage, scan
from lmedge.files import write_json
from lmedge.report.csv_files import write_csv

from .common import PATH, run_study

OUT = Path("benchmarks/results/cross_validation.csv")


@dataclasses.dataclass(frozen=True)
class Fold:
    """One fold, or the mean of all: macro F1 on images that neither training nor export saw.

    The float figures and the agreement come from the export's report, the int8 figures from
    `lmedge benchmark` on the shipped bytes.
    """

    fold: str
    test_pictures: int
    float_landmark_f1: float
    int8_landmark_f1: float
    float_category_f1: float
    int8_category_f1: float
    agreement_landmark: float
    agreement_category: float
    gate_passed: float
    bytes: int
    train_minutes: float
    export_minutes: float


def assign_folds(images: Sequence[LabelledImage], folds: int, seed: int) -> list[int]:
    """Return the fold of each image: stratified by landmark, the remainders spread evenly."""
    places: dict[str, list[int]] = collections.defaultdict(list)
    for index, image in enumerate(images):
        places[image.landmark].append(index)
    rng = np.random.default_rng(seed)
    assigned, offset = [0] * len(images), 0
    for _, indices in sorted(places.items()):
        for number, index in enumerate(rng.permutation(indices).tolist()):
            assigned[index] = (number + offset) % folds
        offset += len(indices)
    return assigned


def lay_out(images: Sequence[LabelledImage], fold_of: Sequence[int], fold: int, to: Path) -> None:
    """Write a data set of links, `to`/train and `to`/test, for one fold."""
    for image, own in zip(images, fold_of, strict=True):
        folder = to / ("test" if own == fold else "train") / image.category / image.landmark
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / image.path.name
        if not link.is_symlink():
            link.symlink_to(image.path.resolve())


def lmedge(*arguments: object) -> float:
    """Run `lmedge` with arguments in a process of its own; return its minutes."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "lmedge", *map(str, arguments)], check=False)
    if done.returncode:
        raise LmedgeError(f"`lmedge {' '.join(map(str, arguments))}` ended with {done.returncode}")
    return (time.monotonic() - began) / 60


def one_fold(name: str, folder: Path, weights: str, seed: int, options: Sequence[str]) -> Fold:
    """Train, export and measure one fold that is laid out in `folder`/data; or read its result."""
    done = folder / "fold.json"
    if done.exists():
        return Fold(**json.loads(done.read_text("utf-8")))
    trained, file, clock = folder / "run", folder / "model.tflite", folder / "minutes.json"
    minutes = {"train": 0.0, "export": 0.0}
    if clock.exists():
        minutes = json.loads(clock.read_text("utf-8"))
    if not (trained / "weights.safetensors").exists():
        again = ["--resume"] if (trained / "run.json").exists() else []
        minutes["train"] += lmedge(
            "train",
            folder / "data",
            "--out",
            trained,
            "--weights",
            weights,
            "--seed",
            seed,
            *options,
            *again,
        )
        write_json(clock, minutes)  # an export that is repeated does not forget the training
    # A refused file is measured too: the row says that the gate did not pass.
    minutes["export"] = lmedge("export", trained, "--int8", "-o", file, "--force")
    lmedge(
        "-q",
        "benchmark",
        file,
        "--data",
        folder / "data",
        "--part",
        "test",
        "--quick",
        "--out",
        folder,
    )
    fold = _read(name, folder, minutes)
    write_json(done, dataclasses.asdict(fold))
    return fold


def _read(name: str, folder: Path, minutes: dict[str, float]) -> Fold:
    exported = json.loads((folder / "model.export.json").read_text("utf-8"))
    measured = json.loads((folder / "report.json").read_text("utf-8"))
    (test,) = (part for part in exported["parts"] if part["part"] == "test")
    accuracy: dict[str, Any] = measured["accuracy"]
    return Fold(
        fold=name,
        test_pictures=accuracy["landmark"]["n"],
        float_landmark_f1=test["float"]["landmark"]["macro_f1"],
        int8_landmark_f1=accuracy["landmark"]["macro_f1"],
        float_category_f1=test["float"]["category"]["macro_f1"],
        int8_category_f1=accuracy["category"]["macro_f1"],
        agreement_landmark=test["agreement"]["landmark"],
        agreement_category=test["agreement"]["category"],
        gate_passed=float(exported["gate"]["passed"]),
        bytes=measured["file"]["bytes"],
        train_minutes=round(minutes["train"], 2),
        export_minutes=round(minutes["export"], 2),
    )


def mean(folds: Sequence[Fold]) -> Fold:
    """Return the mean of each figure; images are summed."""
    values = {
        field.name: float(np.mean([getattr(fold, field.name) for fold in folds]))
        for field in dataclasses.fields(Fold)
        if field.name not in ("fold", "test_pictures", "bytes")
    }
    return Fold(
        fold="mean",
        test_pictures=sum(fold.test_pictures for fold in folds),
        bytes=round(float(np.mean([fold.bytes for fold in folds]))),
        **values,
    )


@click.command()
@click.argument("data", type=PATH)
@click.option("--weights", default="imagenet", show_default=True, help="As for `lmedge train`.")
@click.option("--folds", type=click.IntRange(2, 50), default=5, show_default=True)
@click.option("--only", type=int, multiple=True, help="Run just this fold (from 0). Repeatable.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--work",
    type=PATH,
    default=Path("runs/cross_validation"),
    show_default=True,
    help="Folder of the runs.",
)
@click.option("--out", type=PATH, default=OUT, show_default=True)
@click.option("--set", "settings", multiple=True, help="As for `lmedge train`. Repeatable.")
def main(
    data: Path,
    weights: str,
    folds: int,
    only: tuple[int, ...],
    seed: int,
    work: Path,
    out: Path,
    settings: tuple[str, ...],
) -> None:
    """Cross-validate training and export on DATA and write one row a fold, and their mean."""
    images = scan(data)
    fold_of = assign_folds(images, folds, seed)
    options = [option for setting in settings for option in ("--set", setting)]
    rows: list[Fold] = []
    for fold in only or range(folds):
        folder = work / f"fold-{fold}"
        lay_out(images, fold_of, fold, folder / "data")
        rows.append(one_fold(str(fold), folder, weights, seed, options))
        click.echo(str(rows[-1]))
        write_csv(out, [*rows, mean(rows)], data=f"{data.name}, {len(images)} images")


if __name__ == "__main__":
    run_study(main)
