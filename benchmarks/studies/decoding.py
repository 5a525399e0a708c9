"""Accuracy and time of decoding JPEG files at reduced scale, in learning and in prediction.

    python -m benchmarks.studies.decoding WEIGHTS --data PHOTOGRAPHS

Each photograph is enlarged, with a little noise, to a multiple of the input's side, and saved as
JPEG. Photographs that have the size are saved as they are. Linear discriminant analysis on frozen
features is then cross-validated four ways: learning from and predicting images that were decoded
in full or at the scale of `decode_image`.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import cv2
import numpy as np
import numpy.typing as npt

from lmedge.evaluation.folders import LabelledImage, scan
from lmedge.image import RgbImage, decode_image, prepare, read_image
from lmedge.report.csv_files import write_csv
from lmedge.train.backbones import BACKBONES, load_stock_weights
from lmedge.train.backend import keras
from lmedge.train.fitting.discriminant import discriminant
from lmedge.train.network import FEATURES, build_network, predict_with_features
from lmedge.train.run import NetworkSpec

from .common import PATH, out_option, run_study
from .reduced_decode import encode

FOLDS = 5
SHRINKAGE, SMOOTHING = 0.3, 0.1
# side of the input, and how many times as large the shorter side of the photographs is
CASES = ((64, 4.0), (100, 2.56), (224, 2.5), (224, 6.0))
Features = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodingRow:
    """One size of photographs at one side of the input, in pixels.

    The accuracies are of the landmarks, cross-validated, named by the decoding of the images that
    were learned and of those that were predicted. `changed` is the share of labels of a classifier
    that learned from full images, by the decoding of the image. `difference` is the mean of the
    absolute differences of the inputs, in 0..255. Times are medians in ms from bytes to input.
    """

    side: int
    photograph: int
    images: int
    difference: float
    full_full: float
    reduced_reduced: float
    full_reduced: float
    changed: float
    full_ms: float
    reduced_ms: float


def enlarge_to(image: RgbImage, shorter: int, rng: np.random.Generator) -> RgbImage:
    """Return `image`, (H, W, 3) uint8, with a shorter side of that many pixels."""
    scale = shorter / min(image.shape[:2])
    if scale == 1:
        return image
    large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    noise = rng.integers(-6, 7, (*large.shape[:2], 1)).astype(np.int16)
    return np.asarray(np.clip(large + noise, 0, 255), np.uint8)


def inputs(
    images: Sequence[LabelledImage], side: int, shorter: int
) -> tuple[dict[bool, npt.NDArray[np.uint8]], dict[bool, float]]:
    """Return network inputs and milliseconds, by False for full and True for reduced decoding."""
    rng = np.random.default_rng(0)
    found: dict[bool, list[RgbImage]] = {False: [], True: []}
    taken: dict[bool, list[float]] = {False: [], True: []}
    for number, image in enumerate(images):
        encoded = encode(enlarge_to(read_image(image.path), shorter, rng))
        for reduced in (False, True) if number % 2 else (True, False):
            began = time.perf_counter()
            decoded = decode_image(encoded, image.path.name, side if reduced else None)
            found[reduced].append(prepare(decoded, side))
            taken[reduced].append(1000 * (time.perf_counter() - began))
    return (
        {key: np.stack(values) for key, values in found.items()},
        {key: statistics.median(values) for key, values in taken.items()},
    )


def predictions(learned: Features, asked: Features, truth: npt.NDArray[np.int64]) -> Iterator[int]:
    """Yield the cross-validated prediction for each image of `asked`."""
    folds = np.zeros(len(truth), np.int64)
    for one in range(truth.max() + 1):
        own = np.flatnonzero(truth == one)
        folds[own] = np.arange(len(own)) % FOLDS
    guess = np.zeros(len(truth), np.int64)
    for fold in range(FOLDS):
        inside, classes = folds == fold, int(truth.max()) + 1
        kernel, bias = discriminant(
            learned[~inside],
            truth[~inside],
            None,
            classes,
            shrinkage=SHRINKAGE,
            smoothing=SMOOTHING,
        )
        guess[inside] = (asked[inside] @ kernel + bias).argmax(axis=1)
    yield from guess.tolist()


def measure(network: keras.Model, images: Sequence[LabelledImage], ratio: float) -> DecodingRow:
    """Return the row of photographs that are `ratio` times as large as the network's input."""
    side = int(network.input.shape[1])
    shorter = round(ratio * side)
    names = sorted({image.landmark for image in images})
    truth = np.array([names.index(image.landmark) for image in images], np.int64)
    pixels, taken = inputs(images, side, shorter)
    features = {
        key: predict_with_features(network, value)[FEATURES] for key, value in pixels.items()
    }
    guess = {
        (learned, asked): np.array(list(predictions(features[learned], features[asked], truth)))
        for learned, asked in ((False, False), (True, True), (False, True))
    }
    accuracy = {key: float((value == truth).mean()) for key, value in guess.items()}
    apart = np.abs(pixels[False].astype(np.int16) - pixels[True])
    return DecodingRow(
        side=side,
        photograph=shorter,
        images=len(images),
        difference=float(apart.mean()),
        full_full=accuracy[False, False],
        reduced_reduced=accuracy[True, True],
        full_reduced=accuracy[False, True],
        changed=float((guess[False, False] != guess[False, True]).mean()),
        full_ms=taken[False],
        reduced_ms=taken[True],
    )


@click.command()
@click.argument("weights", type=PATH)
@click.option("--data", type=PATH, required=True, help="Labelled photographs.")
@click.option("--each", type=click.IntRange(FOLDS), default=10, help="Photographs a landmark.")
@out_option("decoding.csv")
def main(weights: Path, data: Path, each: int, out: Path) -> None:
    """Compare both decodings in learning and in prediction."""
    cv2.setNumThreads(1)
    by_landmark: dict[str, list[LabelledImage]] = {}
    for image in scan(data):
        by_landmark.setdefault(image.landmark, []).append(image)
    images = [image for own in by_landmark.values() for image in own[:each]]
    rows = []
    for side, ratio in CASES:
        spec = NetworkSpec(backbone="efficientnetb0", size=side, landmarks=2, categories=2)
        network = build_network(spec)
        load_stock_weights(network, BACKBONES[spec.backbone], str(weights), "stock")
        rows.append(measure(network, images, ratio))
        click.echo(rows[-1])
    write_csv(out, rows, data=f"{weights.name}, {len(images)} photographs of {data.name}")
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
