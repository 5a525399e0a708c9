"""Results of a loop that a test makes itself: a real prediction of the tiny file, and its time."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from lmedge import Classifier, Prediction
from lmedge.camera import Frame, FrameResult
from tests.lmedge.camera.streams import bgr


@functools.cache
def _classifier(file: Path) -> Classifier:
    return Classifier(file)


def prediction_of(file: Path, image: np.ndarray) -> Prediction:
    """Return the prediction of a (H, W, 3) uint8 BGR image."""
    return _classifier(file).classify(image, color="bgr")


def result_of(
    file: Path,
    landmark: str,
    *,
    known: bool = True,
    index: int = 0,
    seconds: float | None = None,
    image: np.ndarray | None = None,
) -> FrameResult:
    """Return the result of a frame of one colour, or of `image`."""
    shown = bgr(landmark) if image is None else image
    at = index / 20 if seconds is None else seconds
    return FrameResult(
        frame=Frame(image=shown, index=index, seconds=at),
        prediction=prediction_of(file, shown),
        frames_per_second=20.0,
        known=known,
    )
