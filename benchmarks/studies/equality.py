"""Comparison of the int8 Keras network and the .tflite that is made of it, value by value.

    python -m benchmarks.studies.equality RUN IMAGES... --out equality.csv

quantizes a finished run, converts it with int8 logits, and compares both on the photographs of each
folder. Beside the network as it answers, which computes as the file does, stands the network as it
is trained, which rounds simulated floats.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from lmedge.errors import DataError
from lmedge.evaluation.folders import list_images
from lmedge.export.formats import RunNetworks, Stages
from lmedge.image import Resize, prepare, read_image
from lmedge.machine import cores
from lmedge.model_file import HEADS
from lmedge.report.csv_files import study_command, write_csv
from lmedge.runtime import load_runtime
from lmedge.train.arrays import Images, normalise
from lmedge.train.backend import keras, tf
from lmedge.train.network import predict_logits
from lmedge.train.run import Run

from .common import PATH, out_option, run_study

BATCH = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Equality:
    """One head of one network against the file, on the images of one folder.

    Shares are in 0..1: `agreement` of images with the same top class, the others of values.
    `largest` is the largest difference in quantization steps, `step` the size of a step.
    """

    folder: str
    network: str
    head: str
    pictures: int
    values: int
    agreement: float
    equal: float
    within_1: float
    within_2: float
    largest: int
    step: float


def file_steps(
    graph: bytes, network: keras.Model, images: Images
) -> dict[str, tuple[npt.NDArray[np.int64], float, int]]:
    """Run a bare graph with int8 logits on (N, S, S, 3) uint8: by head (N, K) steps, scale, zero.

    The heads are outputs of the signature, with the names of the network's outputs.
    """
    _, interpreter_class = load_runtime()
    interpreter = interpreter_class(model_content=graph, num_threads=cores())
    runner = interpreter.get_signature_runner()
    (name,) = runner.get_input_details()
    found: dict[str, list[Any]] = {head: [] for head in network.output_names}
    for image in images:
        answers = runner(**{name: (image ^ 0x80).view(np.int8)[None]})
        for head, values in found.items():
            values.append(answers[head][0].astype(np.int64))
    details = runner.get_output_details()
    return {
        head: (np.stack(values), *details[head]["quantization"]) for head, values in found.items()
    }


def compare_logits(
    network: keras.Model, graph: bytes, images: Images, *, folder: str, as_trained: bool = False
) -> list[Equality]:
    """Return the row of each head.

    `as_trained` takes the form of the network that fine-tuning differentiates.
    """
    wanted = _trained_logits(network, images) if as_trained else predict_logits(network, images)
    given = file_steps(graph, network, images)
    rows = []
    for head in HEADS:
        steps, scale, zero = given[head]
        simulated = np.rint(wanted[head].astype(np.float64) / scale).astype(np.int64) + zero
        apart = np.abs(simulated - steps)
        rows.append(
            Equality(
                folder=folder,
                network="as trained" if as_trained else "as answering",
                head=head,
                pictures=len(steps),
                values=steps.size,
                agreement=float((simulated.argmax(axis=1) == steps.argmax(axis=1)).mean()),
                equal=float((apart == 0).mean()),
                within_1=float((apart <= 1).mean()),
                within_2=float((apart <= 2).mean()),
                largest=int(apart.max()),
                step=float(scale),
            )
        )
    return rows


def _trained_logits(network: keras.Model, images: Images) -> dict[str, npt.NDArray[np.float32]]:
    call = tf.function(lambda x: network(x, training=True), autograph=False, reduce_retracing=True)
    parts = [
        call(tf.constant(normalise(images[at : at + BATCH]))) for at in range(0, len(images), BATCH)
    ]
    return {head: np.concatenate([part[head] for part in parts]) for head in HEADS}


def read_some(folder: Path, count: int, run: Run) -> npt.NDArray[np.uint8]:
    """Return `count` images of a folder, chosen by a fixed seed, (N, S, S, 3) uint8 RGB.

    Raises DataError when the folder holds none.
    """
    paths = list_images(folder) if folder.is_dir() else []
    if not paths:
        raise DataError(f"{folder}: no images there; pass a folder of photographs")
    chosen = np.random.default_rng(0).permutation(len(paths))[:count]
    data = run.recipe.data
    size, resize = data.input_size, Resize(data.resize)
    return np.stack(
        [prepare(read_image(paths[i], size), size, resize) for i in sorted(chosen.tolist())]
    )


@click.command()
@click.argument("run", type=PATH)
@click.argument("folders", metavar="IMAGES...", nargs=-1, required=True, type=PATH)
@out_option()
@click.option("--count", default=500, show_default=True, type=click.IntRange(1), help="In all.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As of lmedge export.")
def main(
    run: Path, folders: tuple[Path, ...], out: Path, count: int, settings: tuple[str, ...]
) -> None:
    """Compare the int8 network of a finished RUN with its file, on IMAGES of folders."""
    opened = Run.open(run).for_export(settings)
    images = {}
    for folder in folders:
        if count > 0:
            images[folder.name] = read_some(folder, count, opened)
            count -= len(images[folder.name])
    networks = RunNetworks(opened, Stages())
    graph = networks.graph("int8", "int8").data
    rows = [
        row
        for name, some in images.items()
        for as_trained in (False, True)
        for row in compare_logits(
            networks.quantized(), graph, some, folder=name, as_trained=as_trained
        )
    ]
    data = ", ".join(f"{len(some)} images of {name}" for name, some in images.items())
    write_csv(out, rows, data=data, command=study_command(sys.argv, {run: "RUN"}))
    click.echo(out.read_text("utf-8"), nl=False)


if __name__ == "__main__":
    run_study(main)
