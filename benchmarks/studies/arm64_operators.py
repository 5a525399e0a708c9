"""Where an emulated ARM64 processor begins to compute other numbers than this machine.

    sudo python -m benchmarks.studies.arm64_root arm64
    python -m benchmarks.studies.arm64_operators FILE.tflite --data PHOTOGRAPHS --root arm64

The golden images of a file and photographs, prepared here, go through the file here and there. A
row stands for an image: the first operator that computes other int8 values, how many of them, and
what becomes of it in the probabilities.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from lmedge.image import prepare, read_image
from lmedge.model_file import HEADS, ModelFile, read_model
from lmedge.report.csv_files import study_command, write_csv
from lmedge.trial import GOLDEN, golden_image

from .arm64 import drawn_images, emulation_options, run_here_and_there
from .common import out_option, run_study
from .tensors import opened

Tensors = Sequence[npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FirstDifference:
    """An image on an emulated core against this machine.

    `operators` compute other int8 values there, of all of the file; `first` is the name of the
    first one and `place` its number, from 0. It has `differing` of `values` other numbers, by
    `largest` steps at the most. `probability` is the largest difference of a probability of any
    output, and `same_best` is true if each head has the same best class.
    """

    core: str
    image: str
    operators: int
    first: str
    place: int | None
    values: int | None
    differing: int | None
    largest: int | None
    probability: float
    same_best: bool


def first_difference(
    core: str, name: str, operators: Sequence[str], here: Tensors, there: Tensors, ends: Tensors
) -> FirstDifference:
    """Compare what all operators gave for one image.

    Args:
        core: The name of the emulated core.
        name: That of the image.
        operators: The names of the operators.
        here: Their outputs on this machine.
        there: Their outputs on the other one, in the same order.
        ends: Pairs (2, K) of the probabilities here and there, the heads first.
    """
    other = [
        place
        for place, (one, two) in enumerate(zip(here, there, strict=True))
        if one.dtype == np.int8 and not np.array_equal(one, two)
    ]
    place = other[0] if other else None
    gap = None if place is None else np.abs(here[place].astype(np.int16) - there[place])
    return FirstDifference(
        core=core,
        image=name,
        operators=len(other),
        first="" if place is None else operators[place],
        place=place,
        values=None if gap is None else int(gap.size),
        differing=None if gap is None else int((gap > 0).sum()),
        largest=None if gap is None else int(gap.max()),
        probability=float(max(np.abs(one[0] - one[1]).max() for one in ends)),
        same_best=all(int(one[0].argmax()) == int(one[1].argmax()) for one in ends[: len(HEADS)]),
    )


def _images(model: ModelFile, paths: Sequence[Path]) -> tuple[list[str], npt.NDArray[np.uint8]]:
    """Return the names of golden images and photographs, and the images as the network has them."""
    names = [f"golden {number + 1}" for number in range(GOLDEN)]
    images = [golden_image(number, model.size) for number in range(GOLDEN)]
    images += [prepare(read_image(path, model.size), model.size, model.resize) for path in paths]
    return [*names, *(path.name for path in paths)], np.stack(images)


def _load(path: Path) -> list[npt.NDArray[Any]]:
    with np.load(path) as found:
        return [found[f"arr_{number}"] for number in range(len(found.files))]


@click.command()
@emulation_options(12)
@out_option("arm64_operators.csv")
def main(
    file: Path, data: Path, root: Path, images: int, cores: tuple[str, ...], out: Path
) -> None:
    """Find the first operator that computes other numbers on emulated ARM64 cores."""
    drawn, model = drawn_images(data, images), read_model(file)
    names, given = _images(model, drawn)
    operators = opened(model)[1]
    known = () if model.known is None else (model.known.index,)
    outputs = [*(model.heads[head].index for head in HEADS), *known]
    places = [[tensor for _, tensor in operators].index(one) for one in outputs]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "images.npz", images=given)
        module = ["benchmarks.studies.tensors", str(file.absolute()), str(folder / "images.npz")]
        found = run_here_and_there(module, cores, root, folder)
        here = _load(next(found)[1])
        for core, path in found:
            there = _load(path)
            for at, image in enumerate(names):
                row = first_difference(
                    core,
                    image,
                    [operator for operator, _ in operators],
                    [one[at] for one in here],
                    [one[at] for one in there],
                    [np.stack([here[place][at], there[place][at]]) for place in places],
                )
                rows.append(row)
                click.echo(str(row))
    command = study_command(sys.argv, {file: "FILE.tflite", data: "PHOTOGRAPHS", root: "ROOT"})
    about = f"{GOLDEN} golden images, {len(drawn)} photographs"
    write_csv(out, rows, data=about, command=command)


if __name__ == "__main__":
    run_study(main)
