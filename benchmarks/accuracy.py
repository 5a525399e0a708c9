"""How often a file is right on labelled images, from the very bytes that are shipped."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from lmedge.classifier import Classifier, Prediction
from lmedge.errors import DataError
from lmedge.evaluation.folders import LabelledImage, UnknownLandmark, split_known
from lmedge.evaluation.scoring import Scores, score_probabilities
from lmedge.image import read_image
from lmedge.progress import progress

from .details import Details, details_of
from .strangers import Strangers, measure_strangers


@dataclasses.dataclass(frozen=True)
class UnreadableImage:
    """An image that could not be decoded, and why."""

    path: Path
    reason: str


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """The scores of both heads on the same images, and the images that were left out."""

    scores: Scores
    details: Details
    unknown: tuple[UnknownLandmark, ...]
    unreadable: tuple[UnreadableImage, ...]
    strangers: Strangers | None = None

    @property
    def skipped(self) -> int:
        """How many images were left out, for either reason."""
        return sum(entry.pictures for entry in self.unknown) + len(self.unreadable)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            **self.scores.as_dict(),
            **self.details.as_dict(),
            "strangers": self.strangers and self.strangers.as_dict(),
            "skipped": {
                "pictures": self.skipped,
                "unknown_landmarks": [dataclasses.asdict(entry) for entry in self.unknown],
                "unreadable": [
                    {"path": click.format_filename(entry.path), "reason": entry.reason}
                    for entry in self.unreadable
                ],
            },
        }


def score(
    classifier: Classifier, images: Iterable[LabelledImage], strangers: Path | None = None
) -> Accuracy:
    """Classify labelled images, showing progress, and score the answers.

    strangers: a folder of images of anything else, to be told from them.
    Images that cannot be read, or whose landmark the file does not know, are left out and listed.
    Raises DataError when none is left, or when the file puts a landmark into another category.
    """
    known, unknown = split_known(classifier.taxonomy, images)
    read: list[LabelledImage] = []
    predictions: list[Prediction] = []
    unreadable: list[UnreadableImage] = []
    with progress("classifying", len(known)) as advance:
        for image in known:
            try:
                predictions.append(classifier.classify(read_image(image.path)))
                read.append(image)
            except DataError as error:
                unreadable.append(UnreadableImage(image.path, _printable(error)))
            advance()
    if not read:
        raise DataError(
            f"none of the {len(unreadable)} images could be read; {unreadable[0].reason}"
        )
    scores, details = _score(classifier, read, predictions)
    others = None if strangers is None else measure_strangers(classifier, strangers, predictions)
    return Accuracy(scores, details, unknown, tuple(unreadable), others)


def _score(
    classifier: Classifier, images: Sequence[LabelledImage], predictions: Sequence[Prediction]
) -> tuple[Scores, Details]:
    taxonomy = classifier.taxonomy
    landmarks = {name: i for i, name in enumerate(taxonomy.landmarks)}
    truth = np.array([landmarks[image.landmark] for image in images], np.int64)
    alone = {
        "landmark": np.stack([prediction.landmark_marginal for prediction in predictions]),
        "category": np.stack([prediction.category_marginal for prediction in predictions]),
    }
    scores = score_probabilities(
        alone,
        {"landmark": truth, "category": taxonomy.parent_index[truth].astype(np.int64)},
        taxonomy,
        classifier.decoding.category_weight,
    )
    joint = np.stack([prediction.joint for prediction in predictions])
    paths = [image.path for image in images]
    return scores, details_of(paths, truth, joint, scores, alone, taxonomy)


def _printable(error: DataError) -> str:
    """Return the message even where a file name in it is not valid UTF-8."""
    return str(error).encode(errors="replace").decode()
