"""A folder of collected images, written by the writer of the product."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lmedge import Classifier
from lmedge.field.store import CollectedStore, NewImage
from tests import small_run
from tests.tiny_file import COLOURS


def frame_of(landmark: str, seed: int) -> np.ndarray:
    """Return a drawing tinted like a landmark of the tiny file, (48, 64, 3) uint8 BGR."""
    drawing = small_run.draw((90, 90, 90), seed, (48, 64)).astype(np.float32)
    mixed = 0.35 * drawing + 0.65 * np.array(COLOURS[landmark], np.float32)
    return np.ascontiguousarray(mixed.astype(np.uint8)[..., ::-1])


def write_collected(
    folder: Path,
    file: Path,
    frames: Sequence[tuple[str, bool, tuple[str, ...]]],
    *,
    bursts: Sequence[int] | None = None,
) -> None:
    """Write an image of each (landmark, known, reasons), a burst each unless `bursts` are given."""
    classifier = Classifier(file)
    store = CollectedStore(folder, camera="hall", most_bytes=10**8, random_share=0.25, one_in=1000)
    for index, (landmark, known, reasons) in enumerate(frames):
        image = frame_of(landmark, index)
        prediction = classifier.classify(image, color="bgr")
        store.add(
            NewImage(
                frame=image,
                seconds=float(index),
                reasons=reasons,
                burst=index if bursts is None else bursts[index],
                prediction=dataclasses.replace(prediction, known=known),
                taxonomy=classifier.taxonomy,
                model=classifier.model,
            )
        )
