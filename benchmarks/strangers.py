"""How well a file tells photographs of anything else from those of its landmarks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmedge.classifier import Classifier, Prediction
from lmedge.errors import DataError
from lmedge.evaluation.folders import list_images
from lmedge.image import read_image
from lmedge.progress import progress
from lmedge.rejection import auroc


@dataclasses.dataclass(frozen=True)
class Strangers:
    """Photographs of anything else against the known ones; shares in 0..1.

    `false_accepts`: strangers that pass the file's `threshold`; `kept`: known images that do.
    `auroc`: how often a known image scores more than a stranger does, see lmedge/rejection.py.
    """

    pictures: int
    unreadable: int
    threshold: float
    false_accepts: float
    kept: float
    auroc: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)


def measure_strangers(
    classifier: Classifier, folder: Path, known: Sequence[Prediction]
) -> Strangers:
    """Classify the images in `folder`, none of which shows a landmark of the file.

    known: the answers to labelled images. Raises DataError when there is nothing to classify.
    """
    paths = list_images(folder) if folder.is_dir() else []
    if not paths:
        raise DataError(f"{folder}: holds no images of anything but the landmarks")
    found, unreadable = [], 0
    with progress("classifying strangers", len(paths)) as advance:
        for path in paths:
            try:
                found.append(classifier.classify(read_image(path)))
            except DataError:
                unreadable += 1
            advance()
    if not found:
        raise DataError(f"{folder}: none of its {unreadable} images could be read")

    def scores(predictions: Sequence[Prediction]) -> npt.NDArray[np.floating]:
        score_of = classifier.threshold.score_of
        return np.array([score_of(one.agreement, one.known_probability) for one in predictions])

    return Strangers(
        len(found),
        unreadable,
        classifier.threshold.least,
        float(np.mean([one.known for one in found])),
        float(np.mean([one.known for one in known])),
        auroc(scores(known), scores(found)),
    )
