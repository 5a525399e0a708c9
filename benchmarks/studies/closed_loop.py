"""The closed loop: collect in the field, label, teach again; against labels chosen at random.

    python -m benchmarks.studies.closed_loop --data PHOTOGRAPHS --unknown OTHER

The photographs of each landmark are cut into a quarter to test on, and two halves of the rest. A
file is taught from the first half. The second half, and images of anything else, are shown as a
stream: each for two seconds, five frames a second, moving a little. `lmedge camera --collect` keeps
frames of it, which are labelled by the truth with the code of `lmedge label`, and the file is
taught again. For comparison it is taught from as many images of the stream that were drawn at
random, and from all of them. `--collect` with more random frames than anybody labels is the third
way: of these as many get a label, those that the page of `lmedge label` shows first. Each file is
measured on the test photographs, and on images of anything else that the stream did not show.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import cv2
import numpy as np

from lmedge.camera import Choice, Frame, FrameSource, run_camera
from lmedge.camera.collect import CollectOptions, Collector
from lmedge.classifier import Classifier, Prediction
from lmedge.evaluation.folders import LabelledImage, scan
from lmedge.evaluation.listing import list_images
from lmedge.evaluation.metrics import macro_f1
from lmedge.field.collected import sidecar
from lmedge.field.labelling import DISCARD, LABEL, UNKNOWN_IMAGE, Labeller
from lmedge.image import RgbImage, read_image
from lmedge.report.csv_files import write_csv
from lmedge.teach.base import Base
from lmedge.teach.photographs import read_photographs
from lmedge.teach.teaching import Lesson, teach_file, write_taught

from .common import PATH, out_option, run_study, unknown_option

SIDE = 480  # pixels of the longer side of a frame
RATE, SHOWN = 5, 2  # frames a second, seconds of an image
DRIFT = 0.06  # share of the image by which the view moves meanwhile
ONE_IN = 5  # frames, of which one at random is kept for who labels the first ones alone
Shown = tuple[Path, str]  # an image, and its landmark; empty for anything else


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopRow:
    """One file of one split, measured on its test photographs."""

    seed: int
    taught_from: str
    labels: int
    labels_of_landmarks: int
    photographs: int
    landmark_f1: float
    category_f1: float
    photographs_known: float
    others_known: float
    test_photographs: int
    test_others: int


class Clip(FrameSource):
    """Images one after the other, as a camera before them would give them."""

    def __init__(self, images: Sequence[Shown]) -> None:
        """Show them in this order."""
        super().__init__("clip")
        self.images = images
        self.now = 0.0

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames."""
        for place, (path, _) in enumerate(self.images):
            image = smaller(read_image(path, SIDE))
            for step in range(RATE * SHOWN):
                number = place * RATE * SHOWN + step
                self.now = number / RATE
                view = moved(image, step / (RATE * SHOWN))
                yield Frame(image=view[..., ::-1].copy(), index=number, seconds=self.now)

    def shown_at(self, seconds: float) -> Shown:
        """Return the image of a time."""
        return self.images[int(seconds / SHOWN + 1e-6)]


def smaller(image: RgbImage) -> RgbImage:
    """Return an image whose longer side has at most SIDE pixels."""
    scale = SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def moved(image: RgbImage, part: float) -> RgbImage:
    """Return the view of an image at a part of its time, 0 to 1: it slides by DRIFT."""
    height, width = image.shape[:2]
    x, y = round(part * DRIFT * width), round(part * DRIFT * height)
    return image[y : y + round((1 - DRIFT) * height), x : x + round((1 - DRIFT) * width)]


def cut(images: Sequence[LabelledImage], seed: int) -> tuple[list[LabelledImage], ...]:
    """Return the test part and both halves of the rest, stratified by landmark."""
    by_landmark = defaultdict(list)
    for image in images:
        by_landmark[image.landmark].append(image)
    parts: tuple[list[LabelledImage], ...] = ([], [], [])
    for landmark, own in sorted(by_landmark.items()):
        rng = np.random.default_rng([seed, *landmark.encode()])
        order = [own[index] for index in rng.permutation(len(own))]
        test = max(1, round(len(order) / 4))
        half = max(2, (len(order) - test) // 2)
        for part, some in zip(
            parts, (order[:test], order[test : test + half], order[test + half :]), strict=True
        ):
            part.extend(some)
    return parts


def copy_all(images: Sequence[LabelledImage], folder: Path) -> None:
    """Copy photographs to `<category>/<landmark>/`."""
    for image in images:
        target = folder / image.category / image.landmark / image.path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image.path, target)


def collect(file: Path, clip: Clip, folder: Path, seed: int, one_in: int = 0) -> None:
    """Run the loop of `lmedge camera --collect` over a clip, at the time of the clip."""
    choice = Choice([file], 1)
    # One frame a second is looked at, and as many are kept as are worth it.
    options = CollectOptions(one_in=one_in, rate=3600.0)
    sink = Collector(folder, choice, "clip", options=options, seed=seed, clock=lambda: clip.now)
    run_camera(choice, clip, [sink])


def label(
    folder: Path, data: Path, clip: Clip, categories: dict[str, str], most: int | None = None
) -> tuple[int, int]:
    """Label frames by the truth, as the page shows them, `most` of them or all.

    The second frame of an image is discarded, as a person would do with the same view. Returns the
    number of labels, and of those of landmarks.
    """
    labeller = Labeller(folder, data)
    seen: set[Path] = set()
    labels = landmarks = 0
    while (groups := labeller.upcoming(1)) and labels != most:
        image = groups[0].images[0]
        at = json.loads(sidecar(image.path).read_text("utf-8"))["seconds"]
        path, landmark = clip.shown_at(at)
        name = [labeller.name_of(image)]
        labels += 1
        if path in seen:
            labeller.decide(DISCARD, name)
        elif landmark:
            labeller.decide(LABEL, name, landmark, categories[landmark])
            landmarks += 1
        else:
            labeller.decide(UNKNOWN_IMAGE, name)
        seen.add(path)
    return labels, landmarks


def taught(base: Base, data: Path, file: Path) -> Path:
    """Teach the base the photographs of a folder, as `lmedge teach` does."""
    lesson = Lesson(forget=True, force=True)
    write_taught(teach_file(base, read_photographs(data, base.backbone), lesson, file), lesson)
    return file


def predictions(classifier: Classifier, paths: Sequence[Path]) -> list[Prediction]:
    """Classify images."""
    size = classifier.model.size
    return [classifier.classify(read_image(path, size)) for path in paths]


def known_share(found: Sequence[Prediction]) -> float:
    """Return the share of images that pass as known."""
    return sum(one.known for one in found) / max(1, len(found))


def measured(
    file: Path, test: Sequence[LabelledImage], others: Sequence[Path]
) -> tuple[float, float, float, float]:
    """Return macro F1 of both heads, and the shares of both kinds of images that pass as known."""
    classifier = Classifier(file)
    taxonomy = classifier.taxonomy
    shown = predictions(classifier, [image.path for image in test])
    found = [(one.landmark, one.category) for one in shown]
    scores = []
    for place, names in enumerate((taxonomy.landmarks, taxonomy.categories)):
        truth = np.array([names.index((one.landmark, one.category)[place]) for one in test])
        guess = np.array([names.index(one[place]) for one in found])
        scores.append(macro_f1(truth, guess, len(names)))
    strange = known_share(predictions(classifier, others))
    return scores[0], scores[1], known_share(shown), strange


def loop(
    base: Base,
    images: Sequence[LabelledImage],
    others: Sequence[Path],
    unseen: Sequence[Path],
    seed: int,
    work: Path,
) -> Iterator[LoopRow]:
    """Yield the files of one split."""
    test, first, second = cut(images, seed)
    categories = {one.landmark: one.category for one in images}
    rng = np.random.default_rng(seed)
    stream: list[Shown] = [(one.path, one.landmark) for one in second]
    stream += [(path, "") for path in others]
    clip = Clip([stream[index] for index in rng.permutation(len(stream))])

    def row(name: str, data: Path, labels: int, landmarks: int) -> LoopRow:
        file = taught(base, data, work / f"{name}.tflite")
        scores = measured(file, test, unseen)
        count = len(list(scan(data)))
        click.echo(f"seed {seed}: {name}: {count} photographs, macro F1 {scores[0]:.3f}")
        return LoopRow(
            seed=seed,
            taught_from=name,
            labels=labels,
            labels_of_landmarks=landmarks,
            photographs=count,
            landmark_f1=scores[0],
            category_f1=scores[1],
            photographs_known=scores[2],
            others_known=scores[3],
            test_photographs=len(test),
            test_others=len(unseen),
        )

    def folder(name: str, more: Sequence[LabelledImage] = ()) -> Path:
        copy_all([*first, *more], work / name)
        return work / name

    yield row("first half", folder("first half"), 0, 0)
    collect(work / "first half.tflite", clip, work / "field", seed)
    data = folder("and collected")
    labels, landmarks = label(work / "field", data, clip, categories)
    yield row("and collected", data, labels, landmarks)
    collect(work / "first half.tflite", clip, work / "wide", seed, ONE_IN)
    data = folder("and as many, shown first")
    first_labels, landmarks = label(work / "wide", data, clip, categories, labels)
    yield row("and as many, shown first", data, first_labels, landmarks)
    for number in range(2):
        drawn = rng.choice(len(stream), min(labels, len(stream)), replace=False)
        paths = {stream[index][0] for index in drawn}
        some = [one for one in second if one.path in paths]
        name = f"and as many at random, {number + 1}"
        yield row(name, folder(name, some), len(drawn), len(some))
    yield row("both halves", folder("both halves", second), len(stream), len(second))


@click.command()
@click.option("--base", type=PATH, help="As for `lmedge teach`.")
@click.option("--data", type=PATH, required=True, help="Labelled photographs.")
@unknown_option(type=PATH, help="Images of anything else, which are shown too.")
@click.option("--others", default=20, show_default=True, help="Images of anything else, at most.")
@click.option("--splits", default=3, show_default=True, help="Splits, each with a seed of its own.")
@out_option("closed_loop.csv")
def main(base: Path, data: Path, unknown: Path | None, others: int, splits: int, out: Path) -> None:
    """Measure the closed loop with the backbone of a base."""
    opened, images = Base.open(base), scan(data)
    found = sorted(list_images(unknown)) if unknown else []
    shown = found[:: max(1, len(found) // max(1, others))][:others]
    unseen = [path for path in found if path not in shown][::3]
    rows: list[LoopRow] = []
    for seed in range(splits):
        with tempfile.TemporaryDirectory() as work:
            rows += loop(opened, images, shown, unseen, seed, Path(work))
    write_csv(out, rows, data=f"{len(images)} photographs of {data.name}, {len(shown)} others")


if __name__ == "__main__":
    run_study(main)
