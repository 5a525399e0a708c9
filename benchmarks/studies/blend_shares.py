"""Mistakes on the test part by the share of fine-tuned weights that a network keeps.

    python -m benchmarks.studies.blend_shares RUN... --out blend_shares.csv

Each RUN is finished, has a test part, a pretrained backbone and a first head in closed form. Its
weights are start + share (fine-tuned - start). The start is computed anew, so that any other share
can be measured: of the landmark head alone, with log loss at its best temperature.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

from lmedge.decoding import log_softmax
from lmedge.report.csv_files import study_command, write_csv
from lmedge.train.arrays import Weights
from lmedge.train.backbones import BACKBONES, load_stock_weights
from lmedge.train.fitting.checkpoint import blended
from lmedge.train.fitting.steps import Trainer
from lmedge.train.network import build_network, get_weights, predict_logits, set_weights
from lmedge.train.run import Run

from .common import PATH, out_option, run_study

SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
TEMPERATURES = np.linspace(0.2, 1.2, 21)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShareRow:
    """The landmark head of the runs with a share of their fine-tuned weights, on `images`."""

    share: float
    mistakes: int
    images: int
    log_loss: float


def at_start(run: Run, folder: Path) -> Weights:
    """Return the weights with which the fine-tuning of a run began."""
    network = build_network(run.spec)
    backbone = BACKBONES[run.recipe.network.backbone]
    load_stock_weights(network, backbone, run.weights, run.recipe.data.normalisation)
    again = dataclasses.replace(run, folder=folder / run.folder.parent.name, plan=None)
    again.create()
    Trainer(run=again, network=network, pretrained=True).phases()[0].fit()
    return get_weights(network)


def measure(run: Run, start: Weights, share: float) -> tuple[int, float]:
    """Return the mistakes and the sum of the log losses of a run on its test part."""
    kept = run.recipe.fine_tune.blend
    final = run.trained_weights()
    whole = {name: start[name] + (value - start[name]) / kept for name, value in final.items()}
    network = build_network(run.input_spec)
    set_weights(network, blended(start, whole, share), run.folder)
    truth = run.labels("test")["landmark"]
    logits = predict_logits(network, run.images("test"))["landmark"].astype(np.float64)
    rows = np.arange(len(truth))
    losses = [-log_softmax(logits / one)[rows, truth].sum() for one in TEMPERATURES]
    return int((logits.argmax(axis=1) != truth).sum()), float(min(losses))


@click.command()
@click.argument("folders", type=PATH, metavar="RUN...", nargs=-1, required=True)
@out_option("blend_shares.csv")
def main(folders: tuple[Path, ...], out: Path) -> None:
    """Measure the finished RUNs with other shares of their fine-tuned weights."""
    runs = [Run.open(folder) for folder in folders]
    found: dict[float, list[tuple[int, float]]] = {share: [] for share in SHARES}
    with tempfile.TemporaryDirectory() as scratch:
        for run in runs:
            start = at_start(run, Path(scratch))
            for share in SHARES:
                found[share].append(measure(run, start, share))
    images = sum(len(run.entries("test")) for run in runs)
    rows = [
        ShareRow(
            share=share,
            mistakes=sum(wrong for wrong, _ in results),
            images=images,
            log_loss=sum(loss for _, loss in results) / images,
        )
        for share, results in found.items()
    ]
    for row in rows:
        click.echo(f"{row.share}: {row.mistakes} mistakes, log loss {row.log_loss:.4f}")
    names = dict.fromkeys(folders, "RUN")
    learned = {len(run.entries("train")) for run in runs}
    data = f"{len(runs)} runs, {sorted(learned)} photographs learned"
    write_csv(out, rows, data=data, command=study_command(sys.argv, names))


if __name__ == "__main__":
    run_study(main)
