"""Scores and predictions of networks that were never trained."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from lmedge.evaluation.folders import LabelledImage
from lmedge.evaluation.metrics import HeadScore, score_head
from lmedge.evaluation.scoring import score_probabilities
from lmedge.image import Resize
from lmedge.taxonomy import Taxonomy


def taxonomy(landmarks: int, categories: int) -> Taxonomy:
    return Taxonomy.from_pairs(
        (f"category {number % categories:02d}", f"landmark {number:03d} of a long name")
        for number in range(landmarks)
    )


def score(names: tuple[str, ...], each: int = 10, right: float = 0.8) -> HeadScore:
    """Scores of `each` images a class, of which about `right` are right."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(len(names)), each)
    guess = np.where(rng.random(len(truth)) < right, truth, rng.integers(0, len(names), len(truth)))
    return score_head(truth, guess, names)


def predictions(folder: Path, truth: list[int], said: list[int], shares: list[float]):
    """Predictions of four landmarks in two categories, on images written to `folder`."""
    from lmedge.train.calibration import Calibration
    from lmedge.train.data.store import ImageStore
    from lmedge.train.reports.predictions import Predictions
    from tests import small_run

    labels = taxonomy(4, 2)
    store = ImageStore(32, Resize.SQUASH, folder / "cache")
    images = []
    for number, place in enumerate(truth):
        name = labels.landmarks[place]
        path = small_run.save(folder / f"{number}.png", small_run.draw((40, 80, 200), number))
        images.append(LabelledImage(path, name, labels.category_of(name)))
    entries, _ = store.admit(images)
    joint = np.full((len(truth), 4), 0.0, np.float32)
    for row, place, share in zip(joint, said, shares, strict=True):
        row[:] = (1 - share) / 3
        row[place] = share
    above = np.stack([joint[:, labels.parent_index == c].sum(axis=1) for c in (0, 1)], axis=1)
    index = np.array(truth, np.int64)
    indices = {"landmark": index, "category": labels.parent_index[index]}
    scores = score_probabilities({"landmark": joint, "category": above}, indices, labels)
    found = Predictions(
        entries=tuple(entries),
        taxonomy=labels,
        truth=index,
        joint=joint,
        scores=scores,
        calibration=Calibration.none(),
    )
    return found, store


def image(path: Path) -> np.ndarray:
    """Read a PNG: (H, W, 3) uint8 RGB."""
    found = cv2.imread(str(path))
    assert found is not None, path
    return found[..., ::-1]


def close_to(pixels: np.ndarray, colour: str, within: int = 25) -> int:
    """Return how many pixels are about a colour like #0072B2."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(pixels.astype(int) - wanted).max(axis=-1) <= within).sum())
