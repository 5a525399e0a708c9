"""The study of averages over maps: fair fifths, honest mistakes, features on one int8 scale."""

from __future__ import annotations

import numpy as np

from benchmarks.studies.averages import FOLDS, assignments, mistakes, rounded

TRUTH = np.repeat(np.arange(3), 10)


def test_the_fifths_of_a_landmark_are_of_equal_size_and_differ_by_assignment() -> None:
    first, second = assignments(TRUTH, 2)
    for fold in (first, second):
        for of_one in fold.reshape(3, 10):
            assert np.bincount(of_one, minlength=FOLDS).tolist() == [2] * FOLDS
    assert not np.array_equal(first, second)


def test_a_landmark_is_wrong_if_its_features_say_another() -> None:
    rng = np.random.default_rng(0)
    one_hot = np.eye(3, 8, dtype=np.float32)[TRUTH] * 10
    one_hot[4] = np.eye(3, 8, dtype=np.float32)[2] * 10
    features = np.repeat(one_hot, 2, axis=0) + rng.normal(0, 1, (60, 8)).astype(np.float32)
    wrong = mistakes(features, TRUTH, assignments(TRUTH, 2), 0.3)
    assert wrong.shape == (2, 30)
    assert [np.flatnonzero(one).tolist() for one in wrong] == [[4], [4]]


def test_rounded_features_have_one_step_for_all() -> None:
    features = np.random.default_rng(0).normal(0, 1, (50, 40)).astype(np.float32)
    found = rounded(features)
    step = np.ptp(features) / 255
    assert len(np.unique(found)) <= 256
    assert np.percentile(np.abs(found - features), 99) <= step
