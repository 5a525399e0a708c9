"""The ways to choose frames for labels are orders of all of them, each by its own rule."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.studies.label_choice import WAYS, Field, Way, collected, in_turn, undecided_known


@pytest.fixture
def field() -> Field:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 8))
    joint = rng.dirichlet([0.3] * 5, 40)
    return Field(
        rows=rows / np.linalg.norm(rows, axis=1, keepdims=True),
        learned=np.eye(8)[:4],
        joint=joint,
        known=rng.random(40) < 0.7,
        conflict=rng.random(40) < 0.1,
        counts=np.array([9, 9, 2, 9, 9]),
        chance=rng,
    )


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_image_comes_once(way: Way, field: Field) -> None:
    assert sorted(way(field)) == list(range(40))


def test_the_rules(field: Field) -> None:
    worth = ~field.known | (field.margin < 0.2) | field.conflict
    assert set(collected(field)[: worth.sum()]) == set(np.flatnonzero(worth))
    count = int(field.known.sum())
    order = undecided_known(field)
    assert list(field.margin[order[:count]]) == sorted(field.margin[field.known])
    rare = int((field.known & (field.joint.argmax(axis=1) == 2)).sum())
    assert rare > 0
    first = field.joint[in_turn(field)[: min(rare, 7)]].argmax(axis=1)
    assert set(first) == {2}, "the landmark with two photographs is first until it has nine"
