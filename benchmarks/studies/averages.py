"""Mistakes of a head in closed form on other averages over the maps of a frozen backbone.

    python -m benchmarks.studies.averages DATA... --weights FILE.h5 --out averages.csv

Each image and its mirror image go once through EfficientNetB0 with pretrained weights. A feature is
the mean of a channel over all places of a map, its largest value, or its generalised mean: the
p-th root of the mean of p-th powers (Radenović et al., arXiv:1711.02512), of values above 0. The
head is that of training, learned on four fifths of the images and scored on the rest, for several
assignments to fifths.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from lmedge.evaluation.folders import LabelledImage, scan
from lmedge.image import Resize, prepare, read_image
from lmedge.progress import progress
from lmedge.report.csv_files import write_csv
from lmedge.train.arrays import Floats, normalise
from lmedge.train.backbones import BACKBONES, load_stock_weights
from lmedge.train.backend import keras, tf
from lmedge.train.fitting.discriminant import discriminant
from lmedge.train.recipes import load_recipe

from .closed_form import FOLDS, folds_of
from .common import PATH, out_option, run_study

BATCH = 16
LAST, WIDEST, BEFORE = "top_activation", "block7a_expand_activation", "block6d_add"
# By name: the maps and what is taken of each. "int8": on one scale of 255 steps.
CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "last": (f"{LAST} mean",),
    "widest": (f"{WIDEST} mean",),
    "widest and last": (f"{WIDEST} mean", f"{LAST} mean"),
    "widest and last, int8": (f"{WIDEST} mean", f"{LAST} mean"),
    "last, int8": (f"{LAST} mean",),
    "block 6 and last": (f"{BEFORE} mean", f"{LAST} mean"),
    "widest, its largest, and last": (f"{WIDEST} mean", f"{WIDEST} largest", f"{LAST} mean"),
    "last and its largest": (f"{LAST} mean", f"{LAST} largest"),
    "widest and last, p = 2": (f"{WIDEST} p2", f"{LAST} p2"),
    "widest and last, p = 3": (f"{WIDEST} p3", f"{LAST} p3"),
    "widest and last, p = 2, int8": (f"{WIDEST} p2", f"{LAST} p2"),
    "widest and last, squares": (f"{WIDEST} squares", f"{LAST} squares"),
    "widest and last, means and p = 2": (
        *(f"{WIDEST} mean", f"{LAST} mean"),
        *(f"{WIDEST} p2", f"{LAST} p2"),
    ),
}
POWERS = (2, 3)
Labels = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AveragesRow:
    """One set of features on one folder of photographs.

    `mistakes` is the mean over the assignments. `mended` and `broken` are the means of the images
    that are right here and wrong with the first set, and the other way round.
    """

    data: str
    images: int
    features: str
    width: int
    mistakes: float
    mended: float
    broken: float


def pooled(
    images: Sequence[LabelledImage], weights: Path, size: int
) -> dict[str, npt.NDArray[np.float32]]:
    """Return what `CANDIDATES` take of each map, (2 N, C) each: image, mirror, image..."""
    image = keras.Input((size, size, 3), name="image")
    backbone = BACKBONES["efficientnetb0"]
    network = keras.Model(image, backbone.build(image))
    load_stock_weights(network, backbone, str(weights))
    outputs = {}
    for name in (LAST, WIDEST, BEFORE):
        maps = network.get_layer(name).output
        outputs[f"{name} mean"] = tf.reduce_mean(maps, (1, 2))
        outputs[f"{name} largest"] = tf.reduce_max(maps, (1, 2))
        for power in POWERS:
            means = tf.reduce_mean(tf.maximum(maps, 1e-6) ** power, (1, 2))
            outputs[f"{name} p{power}"] = means ** (1 / power)
        outputs[f"{name} squares"] = tf.reduce_mean(maps**2, (1, 2))
    probe = keras.Model(image, outputs)
    found: dict[str, list[Floats]] = {name: [] for name in outputs}
    with progress("Computing features", len(images)) as advance:
        for views in _views(images, size):
            for name, values in probe(normalise(views), training=False).items():
                found[name].append(values.numpy())
            for _ in range(len(views) // 2):
                advance()
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _views(images: Sequence[LabelledImage], size: int) -> Iterator[npt.NDArray[np.uint8]]:
    for at in range(0, len(images), BATCH):
        prepared = [
            prepare(read_image(one.path), size, Resize.SQUASH) for one in images[at : at + BATCH]
        ]
        yield np.stack([view for one in prepared for view in (one, one[:, ::-1])])


def assignments(truth: Labels, count: int) -> list[npt.NDArray[np.int64]]:
    """Return the fifth of each image, `count` times; the fifths of a landmark are of equal size."""
    return [folds_of(truth, seed) for seed in range(count)]


def mistakes(
    features: Floats, truth: Labels, folds: Sequence[npt.NDArray[np.int64]], shrinkage: float
) -> npt.NDArray[np.bool_]:
    """Return which images are wrong under each assignment, (A, N); features are (2 N, F)."""
    wrong = np.zeros((len(folds), len(truth)), bool)
    classes = int(truth.max()) + 1
    for number, fold in enumerate(folds):
        for one in range(FOLDS):
            learned, asked = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
            views = np.concatenate([2 * learned, 2 * learned + 1])
            kernel, bias = discriminant(
                features[views],
                np.tile(truth[learned], 2),
                None,
                classes,
                shrinkage=shrinkage,
                smoothing=0.1,
            )
            logits = features[2 * asked] @ kernel + bias
            wrong[number, asked] = logits.argmax(1) != truth[asked]
    return wrong


def rounded(features: Floats) -> Floats:
    """Return features on one scale of 255 steps, as an int8 tensor holds them."""
    low, high = float(features.min()), float(np.percentile(features, 99.99))
    step = (high - low) / 255
    return np.asarray(np.clip(np.rint((features - low) / step), 0, 255) * step + low, np.float32)


def measure(data: Path, weights: Path, count: int) -> Iterator[AveragesRow]:
    """Score every set of features on one folder of photographs."""
    recipe = load_recipe("default")
    images = scan(data)
    names = sorted({one.landmark for one in images})
    truth = np.array([names.index(one.landmark) for one in images])
    found = pooled(images, weights, recipe.data.image_size)
    folds = assignments(truth, count)
    first: npt.NDArray[np.bool_] | None = None
    for name, parts in CANDIDATES.items():
        features = np.hstack([found[part] for part in parts])
        if name.endswith("int8"):
            features = rounded(features)
        wrong = mistakes(features, truth, folds, recipe.head.shrinkage)
        first = wrong if first is None else first
        yield AveragesRow(
            data=data.name,
            images=len(images),
            features=name,
            width=features.shape[1],
            mistakes=float(wrong.sum(1).mean()),
            mended=float((first & ~wrong).sum(1).mean()),
            broken=float((wrong & ~first).sum(1).mean()),
        )


@click.command()
@click.argument("folders", metavar="DATA...", nargs=-1, required=True, type=PATH)
@click.option("--weights", required=True, type=PATH, help="EfficientNetB0 weights, .h5.")
@click.option(
    "--assignments",
    "count",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="How often the images are assigned to fifths.",
)
@out_option("averages.csv")
def main(folders: tuple[Path, ...], weights: Path, count: int, out: Path) -> None:
    """Score heads in closed form on several averages over the maps of a frozen backbone."""
    rows = []
    for data in folders:
        for row in measure(data, weights, count):
            click.echo(f"{row.data}, {row.features}: {row.mistakes:.1f} of {row.images} wrong")
            rows.append(row)
    write_csv(out, rows, data=", ".join(str(data) for data in folders))
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
