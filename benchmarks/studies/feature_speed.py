"""Time of the study recipe with cached features, and with every epoch through the backbone.

    python -m benchmarks.studies.feature_speed DATA --weights efficientnetb0_notop.h5

The plain way is run for a few epochs and its time is multiplied up, which a column records;
`--whole` runs all of it. Both ways are run for the same few epochs first and their validation
losses are compared: they learn the same.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from lmedge.errors import LmedgeError
from lmedge.report.csv_files import write_csv
from lmedge.train.history import HistoryRow
from lmedge.train.recipes import load_recipe
from lmedge.train.run import Run

from .common import PATH, out_option, run_study

PLAIN = ("head.cached=false", "second_head.cached=false")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSpeed:
    """One recipe, trained with cached features and plainly; `ratio` is plain over cached."""

    recipe: str
    epochs: int
    cached_seconds: float
    plain_seconds: float
    plain_is: str
    ratio: float
    largest_difference_of_validation_loss: float
    validation_losses_compared: int


@click.command()
@click.argument("data", type=PATH)
@click.option("--weights", default="imagenet", show_default=True, help="As for `lmedge train`.")
@click.option("--recipe", default="study", show_default=True)
@click.option(
    "--epochs",
    type=click.IntRange(2),
    default=2,
    show_default=True,
    help="Of each phase of the plain way, the first not counted.",
)
@click.option("--whole", is_flag=True, help="Run all epochs of the plain way.")
@out_option("feature_speed.csv")
def main(data: Path, weights: str, recipe: str, epochs: int, whole: bool, out: Path) -> None:
    """Measure both ways on DATA; features are computed anew, decoded images are not."""
    wanted = load_recipe(recipe)
    total = {"landmark-head": wanted.head.epochs, "category-head": wanted.second_head.epochs}
    few = () if whole else (f"head.epochs={epochs}", f"second_head.epochs={epochs}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        words = (data, weights, recipe, folder)
        _train(*words, "decoded", "head.epochs=1", "second_head.epochs=1")
        (cache,) = (folder / "cache").glob("features")
        for path in cache.iterdir():
            path.unlink()
        cached_seconds, _ = _train(*words, "cached")
        _, short = _train(*words, "short", *few)
        plain_seconds, plain = _train(*words, "plain", *PLAIN, *few)
    pairs = list(zip(_losses(short), _losses(plain), strict=True))
    if not whole:
        later = {
            phase: float(np.mean([r.seconds for r in plain if r.phase == phase and r.epoch > 1]))
            for phase in total
        }
        plain_seconds = sum(later[phase] * count for phase, count in total.items())
    row = FeatureSpeed(
        recipe=recipe,
        epochs=sum(total.values()),
        cached_seconds=round(cached_seconds, 1),
        plain_seconds=round(plain_seconds, 1),
        plain_is="measured" if whole else f"multiplied up from {epochs} epochs a phase",
        ratio=round(plain_seconds / cached_seconds, 1),
        largest_difference_of_validation_loss=max(abs(a - b) for a, b in pairs),
        validation_losses_compared=len(pairs),
    )
    write_csv(out, [row], data=data.resolve().name)
    click.echo(out.read_text("utf-8"), nl=False)


def _train(
    data: Path, weights: str, recipe: str, folder: Path, name: str, *settings: str
) -> tuple[float, list[HistoryRow]]:
    """Return the seconds of a whole training process, and its history."""
    words = ["train", data, "--recipe", recipe, "--weights", weights, "--out", folder / name]
    for setting in settings:
        words += ["--set", setting]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "lmedge", "-q", *map(str, words)],
        env={**os.environ, "LMEDGE_CACHE": str(folder / "cache")},
        check=False,
    )
    if done.returncode:
        raise LmedgeError(f"`lmedge train` ended with code {done.returncode}; see above")
    return time.monotonic() - began, Run.open(folder / name).history()


def _losses(history: list[HistoryRow]) -> list[float]:
    return [row.val_loss for row in history]


if __name__ == "__main__":
    run_study(main)
