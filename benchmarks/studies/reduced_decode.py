"""Speed-up of decoding 12-megapixel JPEG files at reduced scale, and its effect on predictions.

    python -m benchmarks.studies.reduced_decode FILE.tflite --data PHOTOGRAPHS

Photographs are enlarged to 12 megapixels with a little noise, as a phone's are, and saved as JPEG.
Both ways then go from the bytes to the network's input in turns.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from pathlib import Path

import click
import cv2
import numpy as np

from lmedge.classifier import Classifier
from lmedge.errors import DataError
from lmedge.evaluation.folders import list_images
from lmedge.image import RgbImage, decode_image, prepare, read_image
from lmedge.report.csv_files import write_csv

from .common import PATH, images_option, out_option, run_study

MEGAPIXELS = 12
_QUALITY = 92


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReducedDecode:
    """Times are medians in ms from bytes to the network's input; `speedup` is that of the medians.

    `same_landmark` and `same_category` are the shares of images with the same label both ways.
    """

    pictures: int
    megapixels: float
    file_mb: float
    full_ms: float
    reduced_ms: float
    speedup: float
    same_landmark: float
    same_category: float


def enlarge(image: RgbImage, random: np.random.Generator) -> RgbImage:
    """Return `image`, (H, W, 3) uint8, as one of about 12 megapixels with a little noise."""
    scale = math.sqrt(MEGAPIXELS * 1e6 / (image.shape[0] * image.shape[1]))
    large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    noise = random.integers(-6, 7, (*large.shape[:2], 1)).astype(np.int16)
    return np.asarray(np.clip(large + noise, 0, 255), np.uint8)


def encode(image: RgbImage) -> bytes:
    """Return the JPEG of (H, W, 3) uint8 RGB."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


@click.command()
@click.argument("file", type=PATH, metavar="FILE.tflite")
@click.option("--data", type=PATH, required=True)
@images_option(90)
@out_option("reduced_decode.csv")
def main(file: Path, data: Path, images: int, out: Path) -> None:
    """Compare full and reduced decoding on large photographs."""
    cv2.setNumThreads(1)
    classifier = Classifier(file)
    paths = list_images(data)
    if not paths:
        raise DataError(f"{data}: no images there; name another folder")
    random = np.random.default_rng(0)
    drawn = [paths[i] for i in random.permutation(len(paths))[:images].tolist()]
    size, resize = classifier.model.size, classifier.model.resize
    taken: dict[bool, list[float]] = {False: [], True: []}
    same, sizes = [], []
    for number, path in enumerate(drawn):
        encoded = encode(enlarge(read_image(path), random))
        sizes.append(len(encoded) / 1e6)
        answers = {}
        for reduced in (False, True) if number % 2 else (True, False):
            start = time.perf_counter()
            image = decode_image(encoded, path.name, size if reduced else None)
            ready = prepare(image, size, resize)
            taken[reduced].append(1000 * (time.perf_counter() - start))
            answers[reduced] = classifier.classify(ready)
        full, small = answers[False], answers[True]
        same.append((full.landmark == small.landmark, full.category == small.category))
    full_ms, reduced_ms = statistics.median(taken[False]), statistics.median(taken[True])
    landmark, category = np.mean(same, axis=0).tolist()
    row = ReducedDecode(
        pictures=len(drawn),
        megapixels=MEGAPIXELS,
        file_mb=statistics.median(sizes),
        full_ms=full_ms,
        reduced_ms=reduced_ms,
        speedup=full_ms / reduced_ms,
        same_landmark=landmark,
        same_category=category,
    )
    click.echo(
        f"{row.pictures} images of {MEGAPIXELS} megapixels: {full_ms:.1f} ms full, "
        f"{reduced_ms:.1f} ms reduced, {row.speedup:.2f} times faster; same landmark "
        f"{landmark:.1%}, same category {category:.1%}"
    )
    write_csv(out, [row], data=f"{file.name}, photographs enlarged to 12 megapixels")
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
