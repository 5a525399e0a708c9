"""The same network in other runtimes, each in an environment of its own, in turns.

    python -m benchmarks.studies.peers INT8.tflite FLOAT32.tflite --data PHOTOGRAPHS

Both files are of one run (`lmedge export --format int8` and `float32`). Virtual environments with
the versions of benchmarks/studies/peers/requirements are made once, in --environments. Every
runtime is a process with one thread that sleeps until it is asked. A turn is one run to warm the
caches and one that is timed; then the next runtime has its turn, for --rounds rounds.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import cv2
import numpy as np
import numpy.typing as npt

from lmedge.benchmarks.latency import FRAME_SIZE, Effort, example_frame, take_timed_turns
from lmedge.model_file import read_model
from lmedge.report.csv_files import write_csv

from ..common import PATH, images_option, out_option, run_study
from ..reduced_decode import enlarge
from .environments import PEERS, environments_option, make_environments, python_option
from .images import some_images
from .lineup import (
    FRAME,
    LARGE_JPEG,
    NETWORK,
    SMALL_JPEG,
    Files,
    Place,
    answers,
    build_onnx,
    line_up,
)
from .table import Row, Timed, check_same_network, rows

REFERENCE = "LiteRT float32"


def measure(places: Sequence[Place], image: npt.NDArray[np.uint8], rounds: int) -> list[Timed]:
    """Time every place in turns, on an image of the input's size or a frame or file of its work."""
    shown = {
        NETWORK: image,
        FRAME: example_frame(),
        SMALL_JPEG: np.asarray(
            cv2.resize(image, FRAME_SIZE[::-1], interpolation=cv2.INTER_CUBIC), np.uint8
        ),
        LARGE_JPEG: enlarge(image, np.random.default_rng(0)),
    }
    for place in places:
        place.worker.show(shown[place.work])
    timers = [functools.partial(place.worker.time, 1) for place in places]
    take_timed_turns(timers, Effort(runs=5, seconds=0.0))
    taken = take_timed_turns(timers, Effort(runs=rounds, seconds=0.0)) / 1e6
    return [
        Timed(
            name=place.name,
            runtime=place.worker.label,
            work=place.work,
            bytes=place.bytes,
            target=place.target,
            times=taken[:, n],
        )
        for n, place in enumerate(places)
    ]


def show(found: Sequence[Row]) -> None:
    """Print the table."""
    width = max(len(row.name) for row in found)
    click.echo(f"{'':{width}}  {'p50 ms':>8}  {'p90 ms':>8}  ratio (95 %)")
    for row in found:
        target = "" if row.target is None else f"; {row.target:g} wanted"
        click.echo(
            f"{row.name:{width}}  {row.p50_ms:8.2f}  {row.p90_ms:8.2f}  {row.ratio:.2f} "
            f"({row.ratio_low:.2f} to {row.ratio_high:.2f}{target}); {row.same_landmark:.1%} as "
            f"{REFERENCE}, within {row.largest_difference:.2g}"
        )


@click.command()
@click.argument("int8", type=PATH, metavar="INT8.tflite")
@click.argument("float32", type=PATH, metavar="FLOAT32.tflite")
@click.option(
    "--data",
    type=PATH,
    required=True,
    metavar="DIR",
    help="Images: some to calibrate onnxruntime's int8 with, others to compare on.",
)
@images_option(100)
@click.option("--rounds", type=click.IntRange(1), default=300, show_default=True)
@environments_option
@python_option
@out_option("peers.csv")
def main(
    int8: Path,
    float32: Path,
    data: Path,
    images: int,
    rounds: int,
    environments: Path,
    python: str,
    out: Path,
) -> None:
    """Compare an int8 file in LiteRT with the same network in other runtimes."""
    ours, whole = read_model(int8), read_model(float32)
    pythons = make_environments(PEERS, environments, python, needed="litert")
    shown = some_images(data, ours, 2 * images)
    calibration, compared = shown[: len(shown) // 2], shown[len(shown) // 2 :]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = Files(ours, whole, Path(folder))
        if "onnxruntime" in pythons:
            build_onnx(files, pythons["onnxruntime"], calibration)
        places = line_up(stack, files, pythons)
        scores = answers(places, compared)
        if "onnxruntime" in pythons:
            check_same_network(scores, "onnxruntime float32", REFERENCE)
        found = rows(measure(places, compared[0], rounds), scores, REFERENCE)
    show(found)
    used = f"{len(calibration)} images of {data.name} to calibrate, {len(compared)} to compare"
    write_csv(out, found, data=f"{int8.name}, {float32.name}; {used}")
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
