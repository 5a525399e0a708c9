"""Answers without a group are those of a regression that never saw it."""

from __future__ import annotations

import numpy as np
import pytest

from lmedge.teach.known import logistic
from lmedge.teach.ridge import Ridge

SHARE = 0.1
CLASSES = 3


def alone(
    rows: np.ndarray, weights: np.ndarray, targets: np.ndarray, ridge: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centre, mean target and kernel of a regression solved anew."""
    centre, mean = weights @ rows / weights.sum(), weights @ targets / weights.sum()
    off = rows - centre
    matrix = (off.T * weights) @ off + ridge * np.eye(rows.shape[1])
    return centre, mean, np.linalg.solve(matrix, (off.T * weights) @ (targets - mean))


@pytest.fixture(params=[(12, 30), (40, 6), (20, 30), (290, 270)], ids=str)
def drawn(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    count, width = request.param
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, width)), rng.permutation(np.arange(count) % CLASSES)


def test_coefficients(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    rows, classes = drawn
    ridge, targets = Ridge(rows, classes), np.eye(CLASSES)[classes]
    kernel, bias = ridge.solve(targets, SHARE).coefficients()
    centre, mean, wanted = alone(rows, ridge.weights, targets, SHARE * ridge.scale)
    assert kernel == pytest.approx(wanted, abs=1e-12)
    assert bias == pytest.approx(mean - centre @ wanted, abs=1e-12)


def test_every_class_counts_the_same(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    rows, classes = drawn
    sums = np.bincount(classes, weights=Ridge(rows, classes).weights)
    assert sums == pytest.approx(np.full(CLASSES, 1 / CLASSES))


def test_a_group_left_out(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    """The rest of its class weighs as much as the class did, as in a lesson without the group."""
    rows, classes = drawn
    ridge, targets = Ridge(rows, classes), np.eye(CLASSES)[classes]
    groups = []
    for number in range(CLASSES):
        inside = np.flatnonzero(classes == number)
        groups += [inside[:2], *(inside[at : at + 1] for at in range(2, len(inside)))]
    found = ridge.solve(targets, SHARE).left_out(groups)
    for group in groups[:: 1 + len(rows) // 50]:
        kept = np.setdiff1d(np.arange(len(rows)), group)
        counts = np.bincount(classes[kept], minlength=CLASSES)
        weights = 1 / (CLASSES * counts[classes[kept]])
        centre, mean, kernel = alone(rows[kept], weights, targets[kept], SHARE * ridge.scale)
        assert found[group] == pytest.approx(mean + (rows[group] - centre) @ kernel)


def test_a_whole_class_left_out(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    rows, classes = drawn
    ridge, targets = Ridge(rows, classes), np.eye(CLASSES)[classes]
    groups = [np.flatnonzero(classes == number) for number in range(CLASSES)]
    found = ridge.solve(targets, SHARE).left_out(groups)
    for number, group in enumerate(groups):
        kept = np.flatnonzero(classes != number)
        weights = ridge.weights[kept]
        centre, mean, kernel = alone(rows[kept], weights, targets[kept], SHARE * ridge.scale)
        assert found[group] == pytest.approx(mean + (rows[group] - centre) @ kernel)


def test_logistic_regression_finds_what_made_the_data() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal([0, 50], [1, 20], (4000, 2))
    place = 2 * features[:, 0] - 0.1 * features[:, 1] + 3
    positive = rng.random(4000) < 1 / (1 + np.exp(-place))
    slopes, offset = logistic(features, positive, np.ones(4000))
    assert slopes == pytest.approx([2, -0.1], rel=0.12)
    assert offset == pytest.approx(3, rel=0.12)


def test_logistic_regression_ends_if_a_feature_separates() -> None:
    features = np.arange(10.0)[:, None]
    slopes, offset = logistic(features, features[:, 0] > 4.5, np.ones(10))
    assert np.isfinite([*slopes, offset]).all()
    assert slopes[0] * 4.5 + offset == pytest.approx(0, abs=1e-6)
