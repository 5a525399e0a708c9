"""One worker of `worker_throughput`: prints seconds and numbers as JSON."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import cv2

from lmedge.train.cluster.team import joined
from lmedge.train.options import DeviceOptions, TrainingOptions
from lmedge.train.recipes import load_recipe

from .worker_throughput import BATCH

SETTINGS = ("data.val_fraction=0.1", "data.test_fraction=0", f"fine_tune.batch={BATCH}")
HEADS = ("landmark", "category")


def work(data: Path, out: Path, size: int, train: bool, found: dict[str, float]) -> None:
    """Measure this worker's reading, its pipeline, and its training."""
    devices = DeviceOptions(device="cpu", distribute="multiworker")

    @contextlib.contextmanager
    def timed(what: str) -> Iterator[None]:
        clock, processor = time.perf_counter(), time.process_time()
        yield
        found[what] = time.perf_counter() - clock
        found[f"{what}_cpu"] = time.process_time() - processor

    with joined(devices.cluster) as signals:
        from lmedge.train import training
        from lmedge.train.backend import keras
        from lmedge.train.fitting.batches import AugmentedBatches, Labels, soft_targets
        from lmedge.train.fitting.devices import place
        from lmedge.train.fitting.heads import heads_model, loss_weights
        from lmedge.train.fitting.phase import Fitting, compile_for
        from lmedge.train.fitting.replicas import feed, shares
        from lmedge.train.network import build_network

        placement = place(devices, signals) if train else None
        recipe = load_recipe("default", [f"data.image_size={size}", *SETTINGS])
        with timed("decode"):
            options = TrainingOptions(
                data=data, out=out, recipe=recipe, weights="none", cross_fit=False
            )
            run = training.start(options)
        sharing = run.sharing("train")
        found["images"] = len(run.entries("train"))
        found["files"] = sum(len(run.sharing(part).own) for part in ("train", "val"))
        labels = Labels(
            {
                head: soft_targets(truth, int(truth.max()) + 1)
                for head, truth in run.labels("train").items()
            },
            sharing=sharing,
        )

        def batches(epoch: int) -> Any:
            return AugmentedBatches(
                run.store,
                run.entries("train"),
                labels,
                recipe.augment,
                batch=BATCH,
                seed=0,
                epoch=epoch,
            )

        with timed("pipeline"):
            for _ in shares(batches(0), sharing.size, number=sharing.number, size=sharing.size):
                pass
        if placement is None:
            return
        with placement.strategy.scope():
            keras.utils.set_random_seed(0)
            network = build_network(run.spec)
            fitting = Fitting(
                phase="measured",
                model=heads_model(network, HEADS),
                network=network,
                batches=batches,
                validation=((), {}),
                epochs=2,
                settings=recipe.fine_tune,
                loss_weights=loss_weights(run, HEADS),
            )
            compile_for(fitting, len(batches(0)))
            for epoch in range(2):  # the first one traces
                with timed("training"), feed(batches(epoch)) as (given, steps):
                    fitting.model.fit(given, steps_per_epoch=steps, epochs=1, verbose=0)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    rates: dict[str, float] = {}
    work(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "1", rates)
    click.echo(json.dumps(rates))
