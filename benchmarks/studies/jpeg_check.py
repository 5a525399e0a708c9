"""Cost of the check for damaged JPEG frames, against one classification.

    python -m benchmarks.studies.jpeg_check FILE.tflite --data PHOTOGRAPHS

Frames of 640 x 480 pixels are decoded by OpenCV without a check, as before, and by lmedge.jpeg,
which checks in the same pass; a classification follows. `alone` is the check of an image file
before another decoder reads it. All take turns, in one thread and on one core. Times are of the
processor, so that other processes matter less.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from lmedge.classifier import Classifier
from lmedge.errors import DataError
from lmedge.evaluation.folders import list_images
from lmedge.image import read_image
from lmedge.jpeg import decode_jpeg, find_damage
from lmedge.report.csv_files import write_csv

from .camera_rate import keep_to_one_core
from .common import PATH, out_option, run_study

SIZE = (640, 480)
QUALITY = 90  # of the JPEG frames
DAMAGED = 512  # bytes lost or zeroed


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckCost:
    """Processor time in ms of one frame, and damage found.

    `added_ratio` is what the check adds to a frame, over one classification of it: the median of
    the rounds, with their 10th and 90th percentile. Shares are those of damaged copies that were
    found: cut, cut with an end mark, filled with zeros from there, and without 512 bytes inside.
    """

    file: str
    frames: int
    rounds: int
    opencv_ms: float
    checked_ms: float
    classify_ms: float
    added_ratio: float
    added_ratio_low: float
    added_ratio_high: float
    alone_ms: float
    alone_ratio: float
    whole_reported: int
    found_cut: float
    found_ended: float
    found_zeros: float
    found_hole: float


def frames_of(folder: Path, count: int) -> list[bytes]:
    """Return JPEG frames of photographs."""
    paths = list_images(folder)
    if not paths:
        raise DataError(f"{folder}: holds no images; pass a folder with photographs")
    encoded = []
    for path in itertools.islice(paths, 0, None, max(1, len(paths) // count)):
        image = cv2.resize(read_image(path)[..., ::-1], SIZE, interpolation=cv2.INTER_AREA)
        encoded.append(
            cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        )
    return encoded[:count]


def milliseconds(work: Callable[[Any], object], items: list[Any]) -> float:
    """Return the mean processor time of `work` on an item."""
    start = time.process_time()
    for item in items:
        work(item)
    return 1000 * (time.process_time() - start) / len(items)


def shares_found(frames: list[bytes], random: np.random.Generator) -> dict[str, float]:
    """Return the share of damaged frames that is found, by the kind of damage."""
    found = {"cut": 0, "ended": 0, "zeros": 0, "hole": 0}
    for frame in frames:
        first = frame.index(b"\xff\xda") + 14
        at = int(random.integers(first, len(frame) - DAMAGED))
        damaged = {
            "cut": frame[:at],
            "ended": frame[:at] + b"\xff\xd9",
            "zeros": frame[:at] + bytes(len(frame) - at - 2) + b"\xff\xd9",
            "hole": frame[:at] + frame[at + DAMAGED :],
        }
        for kind, data in damaged.items():
            found[kind] += find_damage(data) is not None
    return {f"found_{kind}": count / len(frames) for kind, count in found.items()}


@click.command()
@click.argument("file", type=PATH, metavar="FILE.tflite")
@click.option("--data", type=PATH, required=True, help="Photographs that frames are made of.")
@click.option("--frames", type=click.IntRange(4), default=100, show_default=True)
@click.option("--rounds", type=click.IntRange(2), default=20, show_default=True)
@out_option("jpeg_check.csv")
def main(file: Path, data: Path, frames: int, rounds: int, out: Path) -> None:
    """Measure the cost of the check, and the damage that it finds."""
    keep_to_one_core()
    cv2.setNumThreads(1)
    classifier = Classifier(file)
    encoded = frames_of(data, frames)
    arrays = [np.frombuffer(frame, np.uint8) for frame in encoded]
    images = [cv2.imdecode(array, cv2.IMREAD_COLOR) for array in arrays]
    columns: dict[str, list[float]] = {"opencv": [], "checked": [], "alone": [], "classify": []}
    for _ in range(rounds):
        columns["opencv"].append(milliseconds(lambda a: cv2.imdecode(a, cv2.IMREAD_COLOR), arrays))
        columns["checked"].append(milliseconds(lambda frame: decode_jpeg(frame, "bgr"), encoded))
        columns["alone"].append(milliseconds(find_damage, encoded))
        columns["classify"].append(
            milliseconds(lambda image: classifier.classify(image, color="bgr"), images)
        )
    middle = {name: statistics.median(values) for name, values in columns.items()}
    added = [
        (checked - opencv) / classify
        for opencv, checked, classify in zip(
            columns["opencv"], columns["checked"], columns["classify"], strict=True
        )
    ]
    low, high = np.percentile(added, (10, 90)).tolist()
    row = CheckCost(
        file=file.name,
        frames=len(encoded),
        rounds=rounds,
        opencv_ms=middle["opencv"],
        checked_ms=middle["checked"],
        classify_ms=middle["classify"],
        added_ratio=statistics.median(added),
        added_ratio_low=low,
        added_ratio_high=high,
        alone_ms=middle["alone"],
        alone_ratio=middle["alone"] / middle["classify"],
        whole_reported=sum(find_damage(frame) is not None for frame in encoded),
        **shares_found(encoded, np.random.default_rng(0)),
    )
    click.echo(
        f"{row.file}: OpenCV decodes a frame in {row.opencv_ms:.2f} ms, with the check it takes "
        f"{row.checked_ms:.2f} ms; that is {row.added_ratio:+.3f} of a classification "
        f"({row.classify_ms:.2f} ms; {low:+.3f} to {high:+.3f}). The check alone takes "
        f"{row.alone_ms:.2f} ms."
    )
    write_csv(out, [row], data=f"{len(encoded)} photographs as frames of 640 x 480 pixels")
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
