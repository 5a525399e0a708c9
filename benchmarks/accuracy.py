"""Accuracy of a file on labelled images, from the same bytes that are shipped."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from lmedge.classifier import Classifier, Prediction
from lmedge.decoder_noise import counting_decoder_noise
from lmedge.errors import DataError
from lmedge.evaluation.folders import LabelledImage, UnknownLandmark, split_known
from lmedge.evaluation.scoring import Scores, score_probabilities
from lmedge.evaluation.unknown import UnknownImages, list_unknown_images
from lmedge.image import decode_image, read_encoded, read_image
from lmedge.progress import progress
from lmedge.report.per_class import absent_notes
from lmedge.taxonomy import Taxonomy

from .details import Details, details_of


@dataclasses.dataclass(frozen=True)
class UnreadableImage:
    """An image that could not be decoded, and the reason."""

    path: Path
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Scores of both heads on the same images, and the images that were left out.

    `images_sha256` identifies the scored images and their labels, wherever they are.
    """

    taxonomy: Taxonomy
    scores: Scores
    details: Details
    unknown_landmarks: tuple[UnknownLandmark, ...]
    unreadable: tuple[UnreadableImage, ...]
    images_sha256: str
    unknown: UnknownImages | None = None

    @property
    def skipped(self) -> int:
        """Number of images that were left out, for either reason."""
        return sum(entry.pictures for entry in self.unknown_landmarks) + len(self.unreadable)

    @property
    def absent_notes(self) -> list[str]:
        """Lines on the classes without images, and on macro F1 with and without them."""
        return absent_notes(self.scores)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            **self.scores.as_dict(),
            **self.details.as_dict(),
            "matrices": {
                "landmark": self.scores["landmark"].cells,
                "landmark_alone": self.scores.alone["landmark"].cells,
                "category_alone": self.scores.alone["category"].cells,
            },
            "images_sha256": self.images_sha256,
            "strangers": self.unknown and self.unknown.as_dict(),
            "skipped": {
                "pictures": self.skipped,
                "unknown_landmarks": [
                    dataclasses.asdict(entry) for entry in self.unknown_landmarks
                ],
                "unreadable": [
                    {"path": click.format_filename(entry.path), "reason": entry.reason}
                    for entry in self.unreadable
                ],
            },
        }


def score(
    classifier: Classifier, images: Iterable[LabelledImage], unknown: Path | None = None
) -> Accuracy:
    """Classify labelled images, showing progress, and score the predictions.

    Images that cannot be read, or whose landmark the file does not know, are left out and listed.

    Args:
        classifier: The file to score.
        images: Images with their true labels.
        unknown: A folder of images of anything but the landmarks, to tell from the others.

    Raises:
        DataError: No image is left, or the file puts a landmark into another category.
    """
    known, unknown_landmarks = split_known(classifier.taxonomy, images)
    read: list[LabelledImage] = []
    predictions: list[Prediction] = []
    unreadable: list[UnreadableImage] = []
    hashes: list[str] = []
    with counting_decoder_noise(), progress("classifying", len(known)) as advance:
        for image in known:
            try:
                encoded = read_encoded(image.path)
                frame = decode_image(encoded, str(image.path), classifier.model.size)
                predictions.append(classifier.classify(frame))
                read.append(image)
                hashes.append(f"{hashlib.sha256(encoded).hexdigest()} {image.landmark}")
            except DataError as error:
                unreadable.append(UnreadableImage(image.path, _printable(error)))
            advance()
    if not read:
        raise DataError(
            f"none of the {len(unreadable)} images could be read; {unreadable[0].reason}"
        )
    scores, details = _score(classifier, read, predictions)
    return Accuracy(
        taxonomy=classifier.taxonomy,
        scores=scores,
        details=details,
        unknown_landmarks=unknown_landmarks,
        unreadable=tuple(unreadable),
        images_sha256=hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest(),
        unknown=None if unknown is None else _tell_apart(classifier, unknown, predictions),
    )


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


def _tell_apart(classifier: Classifier, folder: Path, known: Sequence[Prediction]) -> UnknownImages:
    """Classify the images in `folder`, none of which shows a landmark of the file."""
    paths = list_unknown_images(folder)
    found, unreadable = [], 0
    with counting_decoder_noise(), progress("classifying unknown images", len(paths)) as advance:
        for path in paths:
            try:
                found.append(classifier.classify(read_image(path, classifier.model.size)))
            except DataError:
                unreadable += 1
            advance()
    if not found:
        raise DataError(f"{folder}: none of its {unreadable} images could be read")

    def scores(predictions: Sequence[Prediction]) -> npt.NDArray[np.floating]:
        score_of = classifier.threshold.score_of
        return np.array([score_of(one.agreement, one.known_probability) for one in predictions])

    return UnknownImages.of(scores(known), scores(found), classifier.threshold.least, unreadable)


def _printable(error: DataError) -> str:
    """Return the message, even if a file name in it is not valid UTF-8."""
    return str(error).encode(errors="replace").decode()
