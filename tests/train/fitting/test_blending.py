"""The share of the fine-tuned weights: the recipe's, until many images say otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from lmedge.train.fitting.checkpoint import blended
from lmedge.train.fitting.validation import likeliest_share


def likelihood(images: int, best: float):
    """Return a log likelihood that falls by 0.01 an image a tenth away from `best`."""
    return lambda share: -images * (share - best) ** 2


@pytest.mark.parametrize("best", [0.2, 0.3, 0.8, 1.0])
def test_a_few_images_do_not_move_it(best: float) -> None:
    assert likeliest_share(0.6, 0.1, likelihood(5, best)) == 0.6


@pytest.mark.parametrize(("best", "found"), [(0.05, 0.1), (0.31, 0.3), (0.79, 0.8), (2.0, 1.0)])
def test_many_do(best: float, found: float) -> None:
    assert likeliest_share(0.6, 0.1, likelihood(100_000, best)) == found


def test_in_between_it_is_a_compromise() -> None:
    assert likeliest_share(0.6, 0.1, likelihood(50, 1.0)) == 0.8


def test_without_a_spread_nothing_is_asked() -> None:
    def never(_: float) -> float:
        raise AssertionError

    assert likeliest_share(0.6, 0.0, never) == 0.6


def test_no_share_is_asked_below_the_given_nor_outside() -> None:
    asked: list[float] = []

    def noted(share: float) -> float:
        asked.append(share)
        return 100_000 * share

    assert likeliest_share(0.75, 0.1, noted) == 0.95
    assert set(asked) == {0.75, 0.85, 0.95}


def test_what_was_frozen_stays_to_the_last_bit() -> None:
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    start, kept = {"a": values, "b": values}, {"a": values.copy(), "b": values + 1}
    found = blended(start, kept, 0.3)
    assert np.array_equal(found["a"], values)
    np.testing.assert_allclose(found["b"], values + np.float32(0.3), rtol=1e-6)
