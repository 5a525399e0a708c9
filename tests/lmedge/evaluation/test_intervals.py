"""Intervals, against published figures."""

from __future__ import annotations

import numpy as np
import pytest

from lmedge.evaluation.intervals import macro_f1_interval, wilson_interval


def test_wilson() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20)[0] == 0.0
    assert wilson_interval(0, 0) == (0.0, 1.0)


class TestMacroF1:
    def test_it_contains_the_value_of_most_samples(self) -> None:
        """Of a network that is right nine times in ten, sampled a hundred times."""
        rng, classes, each, inside = np.random.default_rng(3), 10, 12, 0
        for _ in range(100):
            truth = np.repeat(np.arange(classes), each)
            wrong = rng.random(len(truth)) < 0.1
            guess = np.where(wrong, (truth + rng.integers(1, classes, len(truth))) % classes, truth)
            confusion = np.zeros((classes, classes), np.int64)
            np.add.at(confusion, (truth, guess), 1)
            low, high = macro_f1_interval(confusion)
            inside += low <= 0.9 <= high
        assert inside >= 90

    def test_images_that_are_all_right_do_not_make_it_certain(self) -> None:
        low, high = macro_f1_interval(np.diag(np.full(30, 10)))
        assert 0.98 < low < 0.99  # Wilson of 300 in 300
        assert high == 1.0
        assert macro_f1_interval(np.diag([2, 2]))[0] < 0.6

    def test_no_images_show_nothing(self) -> None:
        assert macro_f1_interval(np.zeros((3, 3), np.int64)) == (0.0, 1.0)
