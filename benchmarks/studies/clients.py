"""Comparison of what the clients of a .tflite predict from the same file.

    python -m benchmarks.studies.clients FILE.tflite --data PHOTOGRAPHS

LiteRT, LiteRT's built-in kernels without XNNPACK, MediaPipe Tasks for Python and tflite-runtime get
the same images, at the input's size. Each is in a virtual environment of its own, made once with
the versions of benchmarks/studies/peers/requirements.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from lmedge.benchmarks.workers.parent import Answer, Worker, bare
from lmedge.errors import LmedgeError
from lmedge.model_file import HEADS, ModelFile, read_model
from lmedge.report.csv_files import write_csv

from .common import PATH, images_option, out_option, run_study
from .peers.environments import environments_option, make_environments, python_option
from .peers.images import some_images
from .peers.table import compare


@dataclasses.dataclass(frozen=True, kw_only=True)
class Client:
    """One row: outputs of a client compared with those of the first, on `pictures` images.

    Shares are in 0..1. `same_landmark` and `same_category` count images with the same best label.
    `bit_equal` counts images if every reported score of both heads is the same float32. `left_out`
    counts scores that are not reported because they are below the file's thresholds. Differences
    are the largest of a probability.
    """

    client: str
    runtime: str
    pictures: int
    same_landmark: float
    same_category: float
    landmark_difference: float
    category_difference: float
    bit_equal: float
    left_out: float


def start(model: ModelFile, pythons: Mapping[str, Path]) -> Iterator[Worker]:
    """Start every client whose environment is there, LiteRT first."""
    litert = pythons["litert"]
    yield bare("interpreter", model, litert, name="LiteRT", runtime="litert")
    name = "LiteRT without XNNPACK"
    yield bare("interpreter", model, litert, name=name, runtime="litert", plain=True)
    if "mediapipe" in pythons:
        yield bare("mediapipe", model, pythons["mediapipe"], name="MediaPipe ImageClassifier")
    if "tflite-runtime" in pythons:
        python = pythons["tflite-runtime"]
        yield bare("interpreter", model, python, name="tflite-runtime", runtime="tflite-runtime")


def row(worker: Worker, own: list[Answer], first: list[Answer]) -> Client:
    """Compare the outputs of a client with those of the first."""
    found = {}
    for head in HEADS:
        found[head] = compare(_stack(own, head), _stack(first, head))
    equal, missing, scores = 0, 0, 0
    for answer, wanted in zip(own, first, strict=True):
        equal += all(_bit_equal(answer[head], wanted[head]) for head in HEADS)
        missing += sum(int(np.isnan(answer[head]).sum()) for head in HEADS)
        scores += sum(len(answer[head]) for head in HEADS)
    landmark, category = found["landmark"], found["category"]
    return Client(
        client=worker.name,
        runtime=worker.label,
        pictures=len(own),
        same_landmark=landmark[0],
        same_category=category[0],
        landmark_difference=landmark[1],
        category_difference=category[1],
        bit_equal=equal / len(own),
        left_out=missing / scores,
    )


def _stack(answers: list[Answer], head: str) -> npt.NDArray[np.float32]:
    return np.stack([answer[head] for answer in answers])


def _bit_equal(own: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> bool:
    reported = ~np.isnan(own)
    return own[reported].tobytes() == wanted[reported].tobytes()


@click.command()
@click.argument("file", type=PATH, metavar="FILE.tflite")
@click.option("--data", type=PATH, required=True, metavar="DIR")
@images_option(500)
@environments_option
@python_option
@out_option("clients.csv")
def main(file: Path, data: Path, images: int, environments: Path, python: str, out: Path) -> None:
    """Compare what the clients of a .tflite predict."""
    model = read_model(file)
    if model.image.dtype != "uint8":
        raise LmedgeError(f"{file}: takes {model.image.dtype}, which not every client does")
    pythons = make_environments(
        ("litert", "mediapipe", "tflite-runtime"), environments, python, needed="litert"
    )
    shown = some_images(data, model, images)
    rows: list[Client] = []
    first: list[Answer] = []
    for worker in start(model, pythons):
        with worker:
            own = [worker.answer(image) for image in shown]
            first = first or own
            rows.append(row(worker, own, first))
    width = max(len(one.client) for one in rows)
    for one in rows:
        click.echo(
            f"{one.client:{width}}  same landmark {one.same_landmark:.1%}, category "
            f"{one.same_category:.1%}; within {one.landmark_difference:.2g} and "
            f"{one.category_difference:.2g}; {one.bit_equal:.1%} bit-equal"
        )
    write_csv(out, rows, data=f"{file.name}, {len(shown)} images of {data.name}")
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
