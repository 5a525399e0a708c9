"""Expected calibration error, against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from lmedge.evaluation.calibration_error import expected_calibration_error, reliability_diagram


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    truth = np.array([0, 1, 0, 1])
    # Half of the images are 0.9 sure and right half the time; the others 0.6, always right.
    assert expected_calibration_error(probabilities, truth) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    assert expected_calibration_error(np.zeros((0, 2)), np.zeros(0, np.int64)) == 0.0


def test_the_error_is_the_mean_over_the_bins_of_their_distance() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(5), 400)
    found = reliability_diagram(probabilities, rng.integers(0, 5, 400), bins=10)
    assert sum(one.pictures for one in found.bins) == 400
    assert sum(one.share for one in found.bins) == pytest.approx(1.0)
    assert all(0.1 * (n - 1) < one.confidence for n, one in enumerate(found.bins, start=2))
    expected = sum(one.share * abs(one.accuracy - one.confidence) for one in found.bins)
    assert found.error == pytest.approx(expected)
