"""The study of the base: images from their seed alone, and a regression without the photograph."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.studies import closed_form
from benchmarks.studies.base_calibration import both_ways
from benchmarks.studies.synthetic_images import KINDS, SIZE

pytestmark = pytest.mark.study


@pytest.mark.parametrize("kind", KINDS)
def test_images_follow_from_their_seed(kind: str) -> None:
    images = KINDS[kind](5)
    assert images.shape == (5, SIZE, SIZE, 3)
    assert images.dtype == np.uint8
    assert np.array_equal(images, KINDS[kind](5))
    assert images.std() > 30
    assert len({image.tobytes() for image in images}) == 5


def test_a_photograph_is_predicted_by_a_regression_without_it() -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(4), 8)
    centres = rng.normal(size=(4, 20)) * 0.4
    rows = closed_form.unit(np.repeat(centres[classes], 2, axis=0) + rng.normal(size=(64, 20)))
    targets = np.repeat(np.eye(4)[classes], 2, axis=0)
    wanted = []
    for place in range(len(classes)):
        kept = np.arange(64) // 2 != place
        x, y = rows[kept], targets[kept]
        centred = x - x.mean(axis=0)
        gram = centred.T @ centred + closed_form.RIDGE * np.eye(20)
        kernel = np.linalg.solve(gram, centred.T @ (y - y.mean(axis=0)))
        values = (rows[~kept] - x.mean(axis=0)) @ kernel + y.mean(axis=0)
        wanted.append(values.mean(axis=0).argmax())
    found = closed_form.by_ridge(rows, classes)
    assert found.tolist() == wanted
    assert 0.3 < (found == classes).mean() < 1.0


def test_the_discriminant_is_fitted_without_the_fold_of_a_photograph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    classes = np.repeat(np.arange(3), 10)
    rows = closed_form.unit(np.random.default_rng(0).normal(size=(60, 8)))
    fold = closed_form.folds_of(classes)
    assert np.bincount(fold).tolist() == [6] * closed_form.FOLDS
    learned = []

    def fake(features: np.ndarray, truth: np.ndarray, *_: object, **__: object) -> tuple:
        learned.append((len(features), np.bincount(truth).tolist()))
        return np.zeros((8, 3), np.float32), np.array([0, 1, 0], np.float32)

    monkeypatch.setattr(closed_form, "discriminant", fake)
    assert set(closed_form.by_discriminant(rows, classes)) == {1}
    assert learned == [(48, [16, 16, 16])] * closed_form.FOLDS


def test_each_image_is_followed_by_its_mirror_image() -> None:
    images = np.arange(2 * 3 * 4 * 3).reshape(2, 3, 4, 3).astype(np.uint8)
    found = both_ways(images)
    assert np.array_equal(found[0::2], images)
    assert np.array_equal(found[1::2], images[:, :, ::-1])
