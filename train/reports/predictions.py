"""Predictions of the float network for labelled images, image by image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lmedge.decoding import joint_probabilities
from lmedge.evaluation.scoring import Scores, score_probabilities
from lmedge.progress import progress
from lmedge.taxonomy import Taxonomy

from ..backend import keras
from ..calibration import Calibration, fit_calibration
from ..data.split import label_indices
from ..data.store import ImageEntry, ImageStore
from ..network import predict_logits

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
        """Return the scores, and the temperatures they were made with, for JSON."""
        return {**self.scores.as_dict(), "temperatures": dict(self.calibration.temperatures)}

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
    starts = range(0, len(entries), BATCH)
    parts = []
    with progress("Classifying", len(starts)) as advance:
        for start in starts:
            images = store.prepared_many(entries[start : start + BATCH])
            parts.append(predict_logits(network, images, BATCH))
            advance()
    logits = {head: np.concatenate([part[head] for part in parts]) for head in parts[0]}
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
