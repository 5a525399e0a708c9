"""Intervals and tests, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from lmedge.train.compare.statistics import compare_all, estimate, holm, p_value


def test_without_overlap_it_is_students_test() -> None:
    values = [0.02, 0.05, -0.01, 0.03, 0.04]
    assert p_value(values, 0.0) == pytest.approx(scipy.stats.ttest_1samp(values, 0.0).pvalue)
    found = estimate(values, 0.0)
    low, high = scipy.stats.t.interval(0.95, 4, np.mean(values), scipy.stats.sem(values))
    assert found.half == pytest.approx((high - low) / 2)
    assert found.low == 0.0  # a score


def test_overlap_makes_it_more_careful() -> None:
    values = [0.02, 0.05, -0.01, 0.03, 0.04]
    # Nadeau and Bengio: the variance of the mean is (1/5 + 1/4) s^2 for five folds
    error = np.sqrt((1 / 5 + 1 / 4) * np.var(values, ddof=1))
    expected = 2 * scipy.stats.t.sf(np.mean(values) / error, 4)
    assert p_value(values, 0.25) == pytest.approx(expected)
    assert expected > p_value(values, 0.0)  # type: ignore[operator]


def test_one_repeat_says_nothing() -> None:
    assert p_value([0.5], 0.25) is None
    assert estimate([0.5], 0.25).half is None


def test_equal_scores_are_no_difference() -> None:
    assert p_value([0.0, 0.0, 0.0], 0.25) == 1.0


def test_holm() -> None:
    # Holm's own order: 3 x 0.01, then 2 x 0.02, never falling; in the places they came in
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])


def test_only_settings_tested_on_the_same_images_are_compared() -> None:
    scores = [[0.9, 0.8, 0.85], [0.5, 0.4, 0.47], [0.9, 0.8, 0.86]]
    tested = [["a", "b", "c"], ["a", "b", "c"], ["a", "b", "d"]]
    (found,) = compare_all("landmark", scores, tested, 0.25)
    assert (found.first, found.second) == (0, 1)
    assert found.is_significant
    assert found.difference == pytest.approx(0.3933, abs=1e-4)
