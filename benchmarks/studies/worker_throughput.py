"""Images a second of several workers, each limited to one core, on this machine.

    python -m benchmarks.studies.worker_throughput --workers 1,2,4

Photographs are drawn. Each worker is a process that is bound to one core and joins the others over
loopback. `decode` is the first reading of its share of the files, `pipeline` the reading and
augmentation of its share of each batch from the cache, and `training` fine-tuning of every layer.
The slowest worker counts. A column with `cpu` counts seconds of its processor: the rate if no other
process used the core. With fewer cores than workers, only those columns mean something.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import cv2
import numpy as np

from lmedge.errors import LmedgeError
from lmedge.machine import cores
from lmedge.processes import child_environment, python_command
from lmedge.report.csv_files import write_csv

from .common import out_option, run_study

BATCH = 32
ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerRate:
    """Images a second of all workers together, of the clock and of the slowest worker's processor.

    Attributes:
        workers: their number.
        cores: those that they ran on.
        images: of an epoch.
        read_by_one: the largest number of files that one worker decoded.
        decode: of the first reading of the files.
        pipeline: of reading and augmentation.
        training: of fine-tuning, None if it was left out.
    """

    workers: int
    cores: int
    images: int
    read_by_one: int
    decode: float
    decode_cpu: float
    pipeline: float
    pipeline_cpu: float
    training: float | None
    training_cpu: float | None


def draw(folder: Path, count: int, side: int) -> None:
    """Write random photographs of four landmarks in two categories."""
    rng = np.random.default_rng(0)
    for number in range(count):
        small = rng.integers(0, 255, (9, 12, 3), np.uint8)
        image = cv2.resize(small, (side, side * 3 // 4), interpolation=cv2.INTER_CUBIC)
        landmark = number % 4
        path = folder / f"category {landmark % 2}" / f"landmark {landmark}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".jpg", image)[1].tobytes())


def _ports(count: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return found


def measure(data: Path, folder: Path, workers: int, size: int, train: bool) -> WorkerRate:
    """Start so many workers and return their rates."""
    addresses = [f"127.0.0.1:{port}" for port in _ports(workers)]
    usable = sorted(os.sched_getaffinity(0))

    def start(number: int) -> dict[str, float]:
        task = {"type": "worker", "index": number}
        environment = {
            **child_environment(),
            "TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task}),
            "LMEDGE_CACHE": str(folder / f"cache-{workers}-{number}"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": str(ROOT),
        }
        words = [str(data), str(folder / f"run-{workers}-{number}"), str(size), str(int(train))]
        done = subprocess.run(
            [
                *("taskset", "-c", str(usable[number % len(usable)])),
                *python_command("-m", f"{__package__}.worker_of_throughput", *words),
            ],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        if done.returncode:
            raise LmedgeError(f"worker {number + 1} ended: {done.stderr.strip()[-500:]}")
        return dict(json.loads(done.stdout.splitlines()[-1]))

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(start, range(workers)))

    return rate_of(found)


def rate_of(found: Sequence[Mapping[str, float]]) -> WorkerRate:
    """Return the rates of all workers from the seconds and numbers of each."""

    def rate(count: float, what: str) -> float:
        return count / max(one[what] for one in found)

    images, files = found[0]["images"], sum(one["files"] for one in found)
    trained = "training" in found[0]
    return WorkerRate(
        workers=len(found),
        cores=min(len(found), cores()),
        images=int(images),
        read_by_one=int(max(one["files"] for one in found)),
        decode=rate(files, "decode"),
        decode_cpu=rate(files, "decode_cpu"),
        pipeline=rate(images, "pipeline"),
        pipeline_cpu=rate(images, "pipeline_cpu"),
        training=rate(images, "training") if trained else None,
        training_cpu=rate(images, "training_cpu") if trained else None,
    )


@click.command()
@click.option("--workers", default="1,2,4", show_default=True, help="Numbers of them.")
@click.option("--images", type=click.IntRange(16), default=256, show_default=True)
@click.option("--side", type=click.IntRange(64), default=1200, show_default=True, help="Of a file.")
@click.option(
    "--size", type=click.IntRange(32), default=224, show_default=True, help="Of the input."
)
@click.option("--training/--no-training", default=True, help="Fine-tune too.")
@out_option("worker_throughput.csv")
def main(workers: str, images: int, side: int, size: int, training: bool, out: Path) -> None:
    """Measure 1, 2 and more workers of one core each."""
    rows = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw(folder / "data", images, side)
        for count in map(int, workers.split(",")):
            rows.append(measure(folder / "data", folder, count, size, training))
            click.echo(f"{time.monotonic() - began:.0f} s: {rows[-1]}")
    write_csv(
        out,
        rows,
        data=f"{images} drawn photographs of {side} x {side * 3 // 4} pixels, EfficientNetB0 at "
        f"{size} pixels from random weights, batches of {BATCH}",
    )


if __name__ == "__main__":
    run_study(main)
