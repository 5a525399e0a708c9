"""Images a second of the input pipeline alone, and of the training step alone.

    python -m benchmarks.studies.throughput RUN

RUN is any run folder; its recipe, images and batch size are used, no weight of it is changed.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from lmedge.report.csv_files import study_command, write_csv
from lmedge.train.backend import keras
from lmedge.train.fitting.batches import AugmentedBatches, Labels, soft_targets
from lmedge.train.network import build_network
from lmedge.train.run import Run

from .common import PATH, out_option, run_study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Throughput:
    """Images a second of the input pipeline alone and of the training step alone."""

    pictures: int
    image_size: int
    batch: int
    pipeline_per_second: float
    step_per_second: float


@click.command()
@click.argument("folder", type=PATH, metavar="RUN")
@click.option(
    "--seconds",
    type=click.FloatRange(1),
    default=20.0,
    show_default=True,
    help="For each of the two, at least.",
)
@out_option("throughput.csv")
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

    row = Throughput(
        pictures=len(entries),
        image_size=run.recipe.data.image_size,
        batch=settings.batch,
        pipeline_per_second=round(images_per_second(prepare, seconds), 1),
        step_per_second=round(images_per_second(step, seconds), 1),
    )
    data = f"{Path(run.data).name}, a training part"
    write_csv(out, [row], data=data, command=study_command(sys.argv, {folder: "RUN"}))
    click.echo(out.read_text("utf-8"), nl=False)


def images_per_second(
    work: Callable[[int], int], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the rate of `work`, which takes a number and returns a number of images.

    The first two calls warm up and are not counted; the last one may exceed `seconds`.
    """
    for number in range(2):
        work(number)
    began, done, number = clock(), 0, 2
    while (spent := clock() - began) < seconds or done == 0:
        done += work(number)
        number += 1
    return float(np.divide(done, spent))


if __name__ == "__main__":
    run_study(main)
