"""Time of a fine-tuning step: float32 with other kernels, and two ways to bfloat16.

    python -m benchmarks.studies.training_step --ways eigen
    python -m benchmarks.studies.training_step --ways bfloat16,mixed

"float32" is what `lmedge train` does on x86-64: float32 by the library oneDNN. "eigen" does without
that library, as TensorFlow by itself does on processors without AVX-512 VNNI. "bfloat16" asks the
library to compute float32 convolutions in bfloat16 where the processor can. "mixed" is Keras'
policy `mixed_bfloat16`. The network, the layers that learn and the batch are the default recipe's;
the weights are random. Each round starts a process for each way. `loss_after` is the loss of the
last step.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np

from lmedge.errors import LmedgeError
from lmedge.report.csv_files import write_csv
from lmedge.train.backend import keras
from lmedge.train.fitting.optimizer import make_optimizer
from lmedge.train.fitting.steps import free_layers
from lmedge.train.network import build_network
from lmedge.train.recipes import load_recipe
from lmedge.train.run import NetworkSpec

from .common import out_option, run_study

_BFLOAT16 = {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16", "TF_SET_ONEDNN_FPMATH_MODE": "BF16"}
BASE = "float32"
WAYS: Mapping[str, Mapping[str, str]] = {
    BASE: {},
    "eigen": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "bfloat16": _BFLOAT16,
    "mixed": {},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepRow:
    """One way; times are medians over the rounds, `ratio` that to `float32` of the same round."""

    way: str
    seconds: float
    ratio: float
    ratio_least: float
    ratio_most: float
    loss_after: float


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=6, show_default=True)
@click.option("--ways", default=",".join(WAYS), show_default=True, help="Beside float32.")
@click.option("--way", type=click.Choice(list(WAYS)), hidden=True)
@out_option("training_step.csv")
def main(rounds: int, steps: int, ways: str, way: str | None, out: Path) -> None:
    """Measure each way and write the CSV file."""
    if way is not None:
        click.echo(" ".join(map(repr, _step(way, steps))))
        return
    names = [BASE, *(name for name in ways.split(",") if name != BASE)]
    if unknown := [name for name in names if name not in WAYS]:
        raise click.BadParameter(f"no way {unknown[0]!r}; there are {', '.join(WAYS)}")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names[:: 1 if number % 2 == 0 else -1]:
            found[name].append(_child(name, steps))
    rows = []
    for name, pairs in found.items():
        ratios = [own / base for (own, _), (base, _) in zip(pairs, found[BASE], strict=True)]
        rows.append(
            StepRow(
                way=name,
                seconds=round(statistics.median(seconds for seconds, _ in pairs), 3),
                ratio=round(statistics.median(ratios), 3),
                ratio_least=round(min(ratios), 3),
                ratio_most=round(max(ratios), 3),
                loss_after=pairs[0][1],
            )
        )
    write_csv(out, rows, data="random images")


def _child(way: str, steps: int) -> tuple[float, float]:
    """Return the median seconds of a step, and the loss after the last, of a process."""
    words = ["-m", "benchmarks.studies.training_step", "--way", way, "--steps", str(steps)]
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **WAYS[way]},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LmedgeError(f"{way}: the process ended with code {done.returncode}; see above")
    seconds, loss = map(float, done.stdout.split()[-2:])
    return seconds, loss


def _step(way: str, steps: int) -> tuple[float, float]:
    """Return the same, of this process; the first two steps are not counted."""
    recipe = load_recipe("default")
    if way == "mixed":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    keras.utils.set_random_seed(0)
    size, batch = recipe.data.image_size, recipe.fine_tune.batch
    spec = NetworkSpec(
        backbone=recipe.network.backbone,
        size=size,
        landmarks=30,
        categories=6,
        features=recipe.network.features,
    )
    network = build_network(spec)
    free_layers(network, spec.backbone, ("landmark",), start=recipe.fine_tune.start[0])
    model = keras.Model(network.input, network.output["landmark"])
    total = steps + 2
    model.compile(
        make_optimizer(recipe.fine_tune, epochs=1, steps=total, warm_up=False),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    images = np.random.default_rng(0).normal(size=(batch, size, size, 3)).astype(np.float32)
    labels = np.arange(batch) % spec.landmarks
    times, loss = [], 0.0
    for _ in range(total):
        began = time.monotonic()
        loss = float(model.train_on_batch(images, labels))
        times.append(time.monotonic() - began)
    return statistics.median(times[2:]), loss


if __name__ == "__main__":
    run_study(main)
