"""The curve of accuracy over coverage, by hand and against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from lmedge.evaluation.coverage import best_coverage, coverage_curve, risk_area
from lmedge.evaluation.unknown import threshold_for

KNOWN = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05])
RIGHT = np.array([True, True, True, True, True, True, False, True, False, False])


def test_points_by_hand() -> None:
    half, most, whole = coverage_curve(KNOWN, RIGHT, np.array([0.55, 0.15]), (0.5, 0.8, 1.0))
    assert (half.kept, half.threshold, half.accuracy, half.false_accepts) == (0.5, 0.5, 1.0, 0.5)
    assert (most.kept, most.accuracy, most.false_accepts) == (0.8, 7 / 8, 0.5)
    assert (whole.kept, whole.accuracy, whole.false_accepts) == (1.0, 0.7, 1.0)
    assert coverage_curve(KNOWN, RIGHT, None, (0.5,))[0].false_accepts is None


def test_equal_scores_are_one_point() -> None:
    (point,) = coverage_curve(np.ones(4), np.array([True, True, False, False]), None)
    assert (point.kept, point.accuracy) == (1.0, 0.5)


def test_the_area_is_least_if_the_wrong_come_last() -> None:
    best, worst = risk_area(KNOWN, KNOWN > 0.25), risk_area(KNOWN, KNOWN < 0.75)
    assert best == pytest.approx((1 / 8 + 2 / 9 + 3 / 10) / 10)
    assert best < risk_area(KNOWN, RIGHT) < worst
    assert risk_area(KNOWN, np.ones(10, bool)) == 0
    assert risk_area(np.ones(4), np.array([True, True, True, False])) > 0.25  # the wrong one first


class TestBestCoverage:
    known = np.linspace(0.5, 1, 200)
    right = np.ones(200, bool)

    def test_unknown_images_below_all_cost_nothing(self) -> None:
        assert best_coverage(self.known, self.right, np.full(50, 0.1)) == 0.99

    def test_it_falls_until_refusing_costs_as_much(self) -> None:
        """Half of the unknown images score like the lowest tenth of the known ones."""
        unknown = np.concatenate([np.linspace(0.5, 0.55, 50), np.full(50, 0.1)])
        assert best_coverage(self.known, self.right, unknown) in (0.89, 0.9)
        assert best_coverage(self.known, self.right, np.linspace(0.5, 1, 50)) >= 0.8

    def test_wrong_images_are_refused_for_nothing(self) -> None:
        right, unknown = np.arange(200) >= 30, np.array([0.1, 0.574])
        coverage = best_coverage(self.known, right, unknown)
        assert coverage == 0.99, "of those that are right"
        assert not (self.known[~right] >= threshold_for(self.known[right], coverage, unknown)).any()
