"""Scores of trained networks on images of other sizes than their own.

    python -m benchmarks.studies.image_sizes RUN... --out image_sizes.csv

The test parts of the runs, prepared at each size; no weight is changed.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from lmedge.errors import RunError
from lmedge.evaluation.metrics import macro_f1
from lmedge.image import Resize
from lmedge.report.csv_files import write_csv
from lmedge.train.data.store import ImageStore, PreparedImages
from lmedge.train.fitting.validation import quality_of
from lmedge.train.network import build_network, load_network, predict_logits
from lmedge.train.run import Run

from .common import PATH, out_option, run_study

SCALES = np.exp(np.linspace(-3, 3, 241))  # of the logits: 1 over a temperature


def log_loss(logits: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> float:
    """Return the mean of -log p(truth), (N, K) logits, at the temperature where it is least.

    The size of images also changes the confidence of a network, which a temperature corrects.
    """
    return min(quality_of(logits * scale, truth).loss for scale in SCALES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SizeScore:
    """The landmark head of all runs at one image size; F1 is the mean over the runs."""

    size: int
    pictures: int
    mistakes: int
    landmark_f1: float
    log_loss: float


@click.command()
@click.argument("folders", nargs=-1, required=True, type=PATH, metavar="RUN...")
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(32, 1024),
    multiple=True,
    default=(192, 224, 240, 256, 288),
    show_default=True,
    help="Repeatable.",
)
@out_option("image_sizes.csv")
def main(folders: tuple[Path, ...], sizes: tuple[int, ...], out: Path) -> None:
    """Score the landmark head, alone, on the test parts of RUNs at every size."""
    runs = [Run.open(folder) for folder in folders]
    for run in runs:
        if not run.entries("test"):
            raise RunError(f"{run.folder} has no test images; name other runs")
    trained = [(run, load_network(run).get_weights()) for run in runs]
    rows = []
    for size in sizes:
        found = [
            (logits_at(run, weights, size), run.labels("test")["landmark"])
            for run, weights in trained
        ]
        mistakes = sum(int((logits.argmax(1) != truth).sum()) for logits, truth in found)
        f1 = np.mean(
            [macro_f1(truth, logits.argmax(1), logits.shape[1]) for logits, truth in found]
        )
        logits, truth = (np.concatenate(parts) for parts in zip(*found, strict=True))
        loss = log_loss(logits, truth)
        click.echo(f"{size}: {mistakes} of {len(truth)} wrong, F1 {f1:.3f}, log loss {loss:.4f}")
        rows.append(
            SizeScore(
                size=size,
                pictures=len(truth),
                mistakes=mistakes,
                landmark_f1=float(f1),
                log_loss=float(loss),
            )
        )
    own = ", ".join(map(str, sorted({run.recipe.data.image_size for run in runs})))
    data = f"the test parts of {len(runs)} runs, trained for {own} pixels"
    write_csv(out, rows, data=data)
    click.echo(f"written: {out}")


def logits_at(
    run: Run, weights: list[npt.NDArray[np.float32]], size: int
) -> npt.NDArray[np.float64]:
    """Return the landmark logits of the test part prepared at `size`, (N, L)."""
    network = build_network(dataclasses.replace(run.spec, size=size))
    network.set_weights(weights)
    store = ImageStore(size, Resize(run.recipe.data.resize))
    images = PreparedImages(store, run.entries("test"))
    return predict_logits(network, images)["landmark"].astype(np.float64)


if __name__ == "__main__":
    run_study(main)
