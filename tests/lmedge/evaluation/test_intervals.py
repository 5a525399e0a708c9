"""Intervals, against published figures."""

from __future__ import annotations

import pytest

from lmedge.evaluation.intervals import wilson_interval


def test_wilson() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20)[0] == 0.0
    assert wilson_interval(0, 0) == (0.0, 1.0)
