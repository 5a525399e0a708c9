"""Steadiness of the camera's label on a clip made of real photographs, and its cost.

    python -m benchmarks.studies.label_stability FILE.tflite --data TEST --unknown DIR

Each photograph is filmed for a few seconds: the view pans and zooms, shakes, is blurred now and
then, and cuts to the next. After every third one comes an unknown image, which shows no landmark.
Every frame is classified once, so that all ways of smoothing see the same predictions.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import cv2
import numpy as np
import numpy.typing as npt

from lmedge.camera.smoothing import UNSMOOTHED, Smoother, Steadiness
from lmedge.classifier import Classifier, Prediction
from lmedge.errors import DataError
from lmedge.evaluation.folders import list_images
from lmedge.image import RgbImage, read_image
from lmedge.report.csv_files import write_csv

from .common import PATH, out_option, run_study, unknown_option

RATE = 15.0  # frames a second
SCENE = 4.0  # seconds a photograph is filmed
SETTLED = 1.0  # seconds after a cut from which on a label must be right
UNKNOWN = "not a landmark"
FRAME = (480, 640)  # height, width

WAYS = {
    "none": UNSMOOTHED,
    "smoothing alone": Steadiness(margin=0.0, dwell=0.0),
    "with hysteresis": Steadiness(dwell=0.0),
    "with hysteresis and dwell (default)": Steadiness(),
    "slower": Steadiness(seconds=1.0),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shot:
    """One classified frame: its truth, its time and the seconds since the last cut."""

    truth: str
    seconds: float
    since_cut: float
    prediction: Prediction
    known: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stability:
    """One way of smoothing on the whole clip; accuracies are shares of frames.

    `cuts_per_minute` is the least number of changes that follows every cut.
    """

    way: str
    seconds: float
    margin: float
    dwell: float
    frames: int
    minutes: float
    cuts_per_minute: float
    changes_per_minute: float
    accuracy: float
    accuracy_settled: float
    accuracy_strangers: float


def film(image: RgbImage, random: np.random.Generator) -> Iterator[RgbImage]:
    """Yield the frames of one scene, (480, 640, 3) uint8 RGB."""
    height, width = image.shape[:2]
    start, end = random.uniform(0.6, 1.0, 2), random.uniform(0.6, 1.0, 2)
    places = random.uniform(0, 1, (2, 2))
    blurred = random.integers(0, int(SCENE * RATE), 3)
    for number in range(int(SCENE * RATE)):
        share = number / (SCENE * RATE)
        zoom = float(start[0] + share * (end[0] - start[0]))
        side = zoom * min(width / FRAME[1], height / FRAME[0])
        size = (side * FRAME[1], side * FRAME[0])
        place = places[0] + share * (places[1] - places[0]) + random.normal(0, 0.01, 2)
        x, y = (np.clip(place, 0, 1) * (width - size[0], height - size[1])).tolist()
        matrix = np.array([[side, 0, x], [0, side, y]], np.float32)
        flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
        frame = cv2.warpAffine(image, matrix, FRAME[::-1], flags=flags)
        if number in blurred or number - 1 in blurred:
            frame = cv2.blur(frame, (41, 3))
        yield np.asarray(frame, np.uint8)


def shoot(
    classifier: Classifier,
    scenes: Sequence[tuple[str, Path]],
    threshold: float,
    random: np.random.Generator,
) -> list[Shot]:
    """Film and classify all scenes, (truth, image), in turn."""
    shots: list[Shot] = []
    for truth, path in scenes:
        for number, frame in enumerate(film(read_image(path), random)):
            prediction = classifier.classify(frame)
            known = prediction.landmark_probability >= threshold
            seconds = len(shots) / RATE
            shots.append(
                Shot(
                    truth=truth,
                    seconds=seconds,
                    since_cut=number / RATE,
                    prediction=prediction,
                    known=known,
                )
            )
    return shots


def judge(classifier: Classifier, shots: Sequence[Shot], way: str, how: Steadiness) -> Stability:
    """Replay the predictions through one way of smoothing."""
    smoother = Smoother(classifier, how)
    shown = []
    for shot in shots:
        steady = smoother.update(shot.prediction, shot.seconds, shot.known)
        shown.append(steady.prediction.landmark if steady.known else UNKNOWN)
    right = np.array([name == shot.truth for name, shot in zip(shown, shots, strict=True)])
    unknown = np.array([shot.truth == UNKNOWN for shot in shots])
    settled = np.array([shot.since_cut >= SETTLED for shot in shots])
    minutes = len(shots) / RATE / 60
    truths = [shot.truth for shot in shots]
    return Stability(
        way=way,
        seconds=how.seconds,
        margin=how.margin,
        dwell=how.dwell,
        frames=len(shots),
        minutes=minutes,
        cuts_per_minute=_changes(truths) / minutes,
        changes_per_minute=_changes(shown) / minutes,
        accuracy=_mean(right[~unknown]),
        accuracy_settled=_mean(right[~unknown & settled]),
        accuracy_strangers=_mean(right[unknown]),
    )


def arrange(data: Path, unknown: Path, scenes: int, seed: int) -> list[tuple[str, Path]]:
    """Draw `scenes` photographs of landmarks and put an unknown image after every third."""
    random = np.random.default_rng(seed)
    images, others = list_images(data), list_images(unknown)
    if not images or not others:
        raise DataError(f"{data if not images else unknown}: no images there; name another folder")
    drawn = [images[i] for i in random.permutation(len(images))[:scenes].tolist()]
    arranged = []
    for number, path in enumerate(drawn):
        arranged.append((path.parent.name, path))
        if number % 3 == 2:
            arranged.append((UNKNOWN, others[int(random.integers(len(others)))]))
    return arranged


def _changes(names: Sequence[str]) -> int:
    return sum(a != b for a, b in itertools.pairwise(names))


def _mean(right: npt.NDArray[np.bool_]) -> float:
    return float(right.mean()) if right.size else float("nan")


@click.command()
@click.argument("file", type=PATH, metavar="FILE.tflite")
@click.option("--data", type=PATH, required=True)
@unknown_option(type=PATH, required=True, metavar="DIR", help="Images of no landmark.")
@click.option("--scenes", type=click.IntRange(1), default=60, show_default=True)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Frames whose landmark is less probable show no landmark.",
)
@click.option("--seed", default=0, show_default=True)
@out_option("label_stability.csv")
def main(
    file: Path, data: Path, unknown: Path, scenes: int, threshold: float, seed: int, out: Path
) -> None:
    """Count label changes and right frames, with and without smoothing."""
    classifier = Classifier(file)
    arranged = arrange(data, unknown, scenes, seed)
    shots = shoot(classifier, arranged, threshold, np.random.default_rng(seed))
    rows = [judge(classifier, shots, way, how) for way, how in WAYS.items()]
    for row in rows:
        click.echo(
            f"{row.way:36} {row.changes_per_minute:6.1f} changes a minute "
            f"({row.cuts_per_minute:.1f} cuts), {row.accuracy:.3f} of frames right, "
            f"{row.accuracy_settled:.3f} settled, unknown images {row.accuracy_strangers:.3f}"
        )
    described = f"{file.name}, {len(arranged)} scenes, threshold {threshold}"
    write_csv(out, rows, data=described)
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
