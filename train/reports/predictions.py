"""Predictions of the float network for labelled images, image by image."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lmedge.decoding import joint_probabilities
from lmedge.evaluation.scoring import Scores, score_probabilities
from lmedge.harmless import write_rows
from lmedge.progress import progress
from lmedge.taxonomy import Taxonomy

from ..arrays import Floats
from ..backend import keras
from ..calibration import Calibration, fit_calibration
from ..cluster.sharing import ImageShares, whole_outputs
from ..data.split import label_indices
from ..data.store import ImageEntry, ImageStore
from ..network import predict_logits
from ..out_of_fold import read_out_of_fold
from ..run import Run

BATCH = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions for N images: `truth` (N,) landmark indices, `joint` (N, L) in 0..1.

    `joint` has the probabilities of the landmarks, both heads decoded together. `scores` and
    `joint` were made with `calibration`.
    """

    entries: tuple[ImageEntry, ...]
    taxonomy: Taxonomy
    truth: npt.NDArray[np.int64]
    joint: npt.NDArray[np.float32]
    scores: Scores
    calibration: Calibration

    def as_dict(self) -> dict[str, Any]:
        """Return the scores with intervals, and the temperatures behind them, for JSON."""
        return {
            **self.scores.as_dict(),
            "interval": self.scores.intervals(),
            "temperatures": dict(self.calibration.temperatures),
        }

    @property
    def predicted(self) -> npt.NDArray[np.intp]:
        """(N,) indices of the predicted landmarks."""
        return np.asarray(self.joint.argmax(axis=1), np.intp)

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """(N,) probabilities of the predicted landmarks."""
        return np.asarray(self.joint.max(axis=1), np.float32)

    def mistakes(self) -> list[int]:
        """Return the places of the wrong predictions, the most confident first."""
        wrong = np.flatnonzero(self.predicted != self.truth)
        return [int(i) for i in wrong[np.argsort(-self.confidence[wrong], kind="stable")]]


def predict_labelled(
    network: keras.Model,
    store: ImageStore,
    entries: Sequence[ImageEntry],
    taxonomy: Taxonomy,
    calibration: Calibration | None = None,
) -> Predictions:
    """Classify labelled images with the float network, showing progress, and score them.

    Args:
        network: The float network, from prepared images to logits by head.
        store: Store of the decoded images.
        entries: The images.
        taxonomy: The labels of both heads.
        calibration: Temperatures and decoding; None fits them to these images.
    """
    logits = logits_of_all(network, store, entries)
    return predictions_of(logits, entries, taxonomy, calibration)


def logits_of_all(
    network: keras.Model, store: ImageStore, entries: Sequence[ImageEntry]
) -> dict[str, Floats]:
    """Return the logits of images by head, showing progress; several workers each read a share."""
    sharing = ImageShares.of([entry.image for entry in entries])
    own = sharing.chosen(entries)
    starts = range(0, len(own), BATCH)
    parts = [predict_logits(network, store.prepared_many([]), BATCH)]
    with progress("Classifying", len(starts)) as advance:
        for start in starts:
            images = store.prepared_many(own[start : start + BATCH])
            parts.append(predict_logits(network, images, BATCH))
            advance()
    return whole_outputs(
        sharing, {head: np.concatenate([part[head] for part in parts]) for head in parts[0]}
    )


def out_of_fold_predictions(run: Run) -> Predictions:
    """Return the out-of-fold answers of a cross-fitted run as predictions of its images."""
    found, entries = read_out_of_fold(run), run.entries("train")
    return predictions_of(
        found.logits, [entries[place] for place in found.places], run.taxonomy, None
    )


def predictions_of(
    logits: Mapping[str, Floats],
    entries: Sequence[ImageEntry],
    taxonomy: Taxonomy,
    calibration: Calibration | None,
) -> Predictions:
    """Decode and score logits, (N, L) and (N, C) by head; `calibration` None is fitted to them."""
    truth = label_indices(entries, taxonomy)
    if calibration is None:
        calibration = fit_calibration(logits, truth, taxonomy)
    probabilities, weight = calibration.probabilities(logits), calibration.decoding.category_weight
    joint = joint_probabilities(
        probabilities["landmark"],
        probabilities["category"],
        taxonomy.parent_index,
        weight,
    )
    scores = score_probabilities(probabilities, truth, taxonomy, weight)
    return Predictions(
        entries=tuple(entries),
        taxonomy=taxonomy,
        truth=truth["landmark"],
        joint=joint,
        scores=scores,
        calibration=calibration,
    )


def labels_csv(predictions: Predictions) -> str:
    """Return a row for each image that is predicted to be another landmark, in doubt first.

    The columns `labelled` and `predicted` are landmarks, followed by their probabilities.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ("file", "labelled", "predicted", "probability_labelled", "probability_predicted")
    )
    names, joint = predictions.taxonomy.landmarks, predictions.joint
    for place in predictions.mistakes():
        label, guess = int(predictions.truth[place]), int(predictions.predicted[place])
        row = (
            str(predictions.entries[place].image.path),
            names[label],
            names[guess],
            f"{joint[place, label]:.4f}",
            f"{joint[place, guess]:.4f}",
        )
        write_rows(writer, [row])
    return stream.getvalue()
