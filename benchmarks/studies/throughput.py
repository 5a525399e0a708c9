"""Whether the trainer is fed: images a second of the input pipeline alone, and of the step alone.

    python -m benchmarks.studies.throughput RUN

RUN is any run folder; its recipe, images and batch size are used, no weight of it is changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from lmedge.train.backend import keras
from lmedge.train.fitting.batches import AugmentedBatches, Labels, soft_targets
from lmedge.train.network import build_network
from lmedge.train.run import Run

from . import scripts
from .measured import write_row


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--seconds",
    type=click.FloatRange(1),
    default=20.0,
    show_default=True,
    help="For each of the two, at least.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("benchmarks/results/throughput.csv"),
    show_default=True,
)
def main(folder: Path, seconds: float, out: Path) -> None:
    """Measure both, one after the other, on the images of a run."""
    run = Run.open(folder)
    settings, entries, truth = run.recipe.fine_tune, run.entries("train"), run.labels("train")
    labels = Labels({"landmark": soft_targets(truth["landmark"], len(run.taxonomy.landmarks))})

    def batches(epoch: int) -> AugmentedBatches:
        return AugmentedBatches(
            run.store,
            entries,
            labels,
            run.recipe.augment,
            batch=settings.batch,
            seed=run.seed,
            epoch=epoch,
        )

    steps = len(batches(0))
    whole = [batches(0)[index] for index in range(min(2, steps))]  # decoded now, if not before

    def prepare(number: int) -> int:
        return len(batches(number // steps)[number % steps][0])

    network = build_network(run.spec)
    model = keras.Model(network.input, {"landmark": network.get_layer("landmark").output})
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-6), {"landmark": loss})
    inputs, targets = whole[0][0], whole[0][1]

    def step(_number: int) -> int:
        model.train_on_batch(inputs, targets)
        return len(inputs)

    row = {
        "pictures": len(entries),
        "image_size": run.recipe.data.image_size,
        "batch": settings.batch,
        "pipeline_per_second": round(_rate(prepare, seconds), 1),
        "step_per_second": round(_rate(step, seconds), 1),
    }
    write_row(out, row, "throughput", f"{Path(run.data).name}, a training part")


def _rate(work: Callable[[int], int], seconds: float) -> float:
    """Return images a second; the first two calls warm up."""
    for number in range(2):
        work(number)
    began, done, number = time.perf_counter(), 0, 2
    while (spent := time.perf_counter() - began) < seconds or done == 0:
        done += work(number)
        number += 1
    return float(np.divide(done, spent))


if __name__ == "__main__":
    scripts.run(main)
