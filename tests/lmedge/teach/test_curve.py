"""The forecast: the same regression with fewer photographs, and a gain that can come true."""

from __future__ import annotations

import numpy as np
import pytest

from lmedge.teach import curve
from lmedge.teach.features import FeatureSet, feature_set
from lmedge.teach.fitting import teach_heads
from lmedge.teach.ridge import Ridge

WIDTH, LANDMARKS, NOISE = 40, 6, 2.4
RNG = np.random.default_rng(4)
CENTRES = RNG.normal(0, 1, (LANDMARKS, WIDTH))
NAMES = [f"landmark {number}" for number in range(LANDMARKS)]


def drawn(each: int, seed: int) -> FeatureSet:
    """Return so many noisy photographs of each landmark."""
    rng = np.random.default_rng(seed)
    rows = CENTRES[:, None] + rng.normal(0, NOISE, (LANDMARKS, each, WIDTH))
    whole = np.clip(np.rint(14 * rows), -127, 127).astype(np.int8)
    return feature_set(
        dict.fromkeys(NAMES, "all"), dict(zip(NAMES, whole, strict=True)), [], zero=0, width=WIDTH
    )


def test_a_lesson_with_fewer_is_that_of_a_ridge() -> None:
    rows, truth = drawn(5, 0).rows()
    learned, asked = np.arange(0, 30, 2), np.arange(1, 30, 2)
    found = curve._answers(rows.astype(float) @ rows.T, truth, learned, asked, 0.01)
    targets = np.eye(LANDMARKS)[truth[learned]]
    kernel, bias = Ridge(rows[learned], truth[learned]).solve(targets, 0.01).coefficients()
    assert found == pytest.approx(rows[asked] @ kernel + bias, abs=1e-4)


def test_the_forecast_comes_true() -> None:
    """Of many lessons; a single one may be off by what its interval tells."""
    gains, forecasts, inside = [], [], []
    for seed in range(4):
        features = drawn(12, seed)
        found = teach_heads(features)
        told = curve.forecast(found, features)
        assert told is not None
        larger = teach_heads(drawn(22, 100 + seed)).heads
        rows, truth = drawn(200, 200 + seed).rows()
        right = [
            (one.outputs(rows)["landmark"].argmax(axis=1) == truth).mean()
            for one in (found.heads, larger)
        ]
        gains.append(right[1] - right[0])
        forecasts.append(told.gain)
        inside.append(told.low <= gains[-1] <= told.high)
        assert told.low <= told.gain <= told.high
    assert np.mean(gains) > 0.02
    assert np.mean(forecasts) == pytest.approx(np.mean(gains), abs=0.04)
    assert sum(inside) >= 2


def test_too_few_for_a_forecast() -> None:
    features = drawn(curve.LEAST - 1, 0)
    assert curve.forecast(teach_heads(features), features) is None


def test_nothing_is_wrong() -> None:
    """Photographs that are all right leave nothing to gain, and no error."""
    rng = np.random.default_rng(0)
    rows = np.repeat(CENTRES[:, None], 8, axis=1) + rng.normal(0, 0.3, (LANDMARKS, 8, WIDTH))
    whole = np.clip(np.rint(40 * rows), -127, 127).astype(np.int8)
    features = feature_set(
        dict.fromkeys(NAMES, "all"), dict(zip(NAMES, whole, strict=True)), [], zero=0, width=WIDTH
    )
    teaching = teach_heads(features)
    teaching.measured[:] = True
    told = curve.forecast(teaching, features)
    assert told is None or 0 <= told.low <= told.gain <= told.high < 0.05
