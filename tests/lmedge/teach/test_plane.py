"""Distances from the plane without a group are those from a plane that never knew it."""

from __future__ import annotations

import numpy as np
import pytest

from lmedge.teach.plane import PART, Plane

WIDTH, EACH = 40, 4


def squared(row: np.ndarray, means: np.ndarray) -> float:
    """Return the squared distance of a row from the plane through means, solved anew."""
    edges = (means[1:] - means[0]).T
    off = row - means[0]
    if edges.shape[1]:
        off = off - edges @ np.linalg.lstsq(edges, off, rcond=None)[0]
    return float(off @ off)


def centre_only(row: np.ndarray, means: np.ndarray) -> float:
    return float(np.square(row - means.mean(axis=0)).sum())


def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    classes = rng.permutation(np.arange(EACH * count) % count)
    return rng.normal(size=(len(classes), WIDTH)) + 2 * classes[:, None], classes


def means_of(rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return np.stack([rows[classes == number].mean(axis=0) for number in np.unique(classes)])


@pytest.mark.parametrize("count", [1, 2, 3, 9, WIDTH // PART + 2])
def test_distances(count: int) -> None:
    rows, classes = drawn(count)
    plane = Plane(rows, classes)
    anew = centre_only if count == 1 or PART * (count - 1) > WIDTH else squared
    more = rows + 1
    means = means_of(rows, classes)
    assert plane.distances(more) == pytest.approx([anew(row, means) for row in more])
    groups = [
        part
        for number in range(count)
        for part in np.split(np.flatnonzero(classes == number), [2, 3])
    ]
    found = plane.without_groups(groups)
    for group in groups:
        kept = np.setdiff1d(np.arange(len(rows)), group)
        means = means_of(rows[kept], classes[kept])
        assert found[group] == pytest.approx([anew(row, means) for row in rows[group]])


@pytest.mark.parametrize("count", [2, 3, 9, WIDTH // PART + 2])
def test_without_its_class(count: int) -> None:
    rows, classes = drawn(count)
    anew = centre_only if PART * (count - 1) > WIDTH else squared
    plane = Plane(rows, classes)
    found = plane.without_classes()
    for number in range(count):
        means = means_of(rows[classes != number], classes[classes != number])
        own = classes == number
        assert found[own] == pytest.approx([anew(row, means) for row in rows[own]])
    whole = [np.flatnonzero(classes == number) for number in range(count)]
    assert plane.without_groups(whole) == pytest.approx(found)


def test_two_landmarks_of_one_place() -> None:
    """The plane through equal means has a dimension less, and stays finite."""
    rows, classes = drawn(3)
    rows[classes == 1] = rows[classes == 0]
    plane = Plane(rows, classes)
    for found in (plane.without_classes(), plane.distances(rows)):
        assert np.isfinite(found).all()
        assert (found >= 0).all()
