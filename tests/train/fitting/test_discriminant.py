"""The closed form: scikit-learn's classifier, at a scale that smoothed targets ask for."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from lmedge.decoding import softmax
from lmedge.train.fitting.discriminant import discriminant


@pytest.fixture
def clouds() -> tuple[np.ndarray, np.ndarray]:
    """Five classes of twelve images in forty dimensions, of very different spreads."""
    rng = np.random.default_rng(0)
    truth = np.arange(60) % 5
    means = rng.normal(0, 1, (5, 40))
    spread = np.exp(rng.normal(0, 1, 40))
    return (means[truth] + rng.normal(0, spread, (60, 40))).astype(np.float32), truth


def logits(features: np.ndarray, truth: np.ndarray, **options: float) -> np.ndarray:
    values = {"shrinkage": 0.3, "smoothing": 0.1, **options}
    kernel, bias = discriminant(features, truth, None, int(truth.max()) + 1, **values)
    return features @ kernel + bias


@pytest.mark.parametrize("shrinkage", [0.1, 0.3, 0.9])
def test_it_is_scikit_learns(clouds: tuple[np.ndarray, np.ndarray], shrinkage: float) -> None:
    """On features of unit variance within the classes, and but for one factor of all logits."""
    features, truth = clouds
    fresh = np.random.default_rng(1).normal(0, 2, (200, 40)).astype(np.float32)
    means = np.stack([features[truth == number].mean(axis=0) for number in range(5)])
    spread = (features - means[truth]).std(axis=0)
    oracle = LinearDiscriminantAnalysis(
        solver="eigen", shrinkage=shrinkage, priors=np.full(5, 0.2)
    ).fit((features / spread).astype(np.float64), truth)
    expected = oracle.decision_function(fresh / spread)
    kernel, bias = discriminant(features, truth, None, 5, shrinkage=shrinkage, smoothing=0.1)
    found = fresh @ kernel + bias
    centred = [values - values.mean(axis=1, keepdims=True) for values in (expected, found)]
    assert np.corrcoef(centred[0].ravel(), centred[1].ravel())[0, 1] > 0.99999
    assert (expected.argmax(axis=1) == found.argmax(axis=1)).mean() > 0.99


def test_it_is_as_sure_as_the_targets(clouds: tuple[np.ndarray, np.ndarray]) -> None:
    """No other factor gives a smaller cross-entropy against the smoothed targets."""
    features, truth = clouds
    targets = np.eye(5)[truth] * 0.9 + 0.1 / 5
    found = logits(features, truth)

    def loss(factor: float) -> float:
        return float(-(targets * np.log(softmax(found * factor))).sum(axis=1).mean())

    assert loss(1.0) < min(loss(0.8), loss(1.25))


def test_weights_count_as_copies(clouds: tuple[np.ndarray, np.ndarray]) -> None:
    features, truth = clouds
    weights = np.where(truth == 2, 3.0, 1.0).astype(np.float32)
    repeated = np.repeat(np.arange(60), weights.astype(int))
    options = {"shrinkage": 0.3, "smoothing": 0.1}
    found = discriminant(features, truth, weights, 5, **options)
    expected = discriminant(features[repeated], truth[repeated], None, 5, **options)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_a_feature_that_never_changes() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (20, 6)).astype(np.float32)
    features[:, 3] = 1.0
    truth = np.arange(20) % 2
    features[truth == 1, 0] += 6
    kernel, bias = discriminant(features, truth, None, 2, shrinkage=0.3, smoothing=0.1)
    assert np.isfinite(kernel).all()
    assert ((features @ kernel + bias).argmax(axis=1) == truth).all()


def test_block_by_block_it_is_the_same(
    clouds: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    features, truth = clouds
    weights = np.linspace(0.5, 2.0, 60).astype(np.float32)
    options = {"shrinkage": 0.3, "smoothing": 0.1}
    whole = discriminant(features, truth, weights, 5, **options)
    monkeypatch.setattr("lmedge.train.fitting.discriminant.BLOCK", 7)
    for a, b in zip(discriminant(features, truth, weights, 5, **options), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    count, width = 40_000, 256  # 41 MB as float32, 82 MB as float64
    features = np.memmap(tmp_path / "features", "<f4", "w+", shape=(count, width))
    features[:] = np.random.default_rng(0).normal(0, 1, (1, width))
    features[::2, 0] += 5
    features[:, 1:] += np.random.default_rng(1).normal(0, 1, (count, 1))
    truth = np.arange(count) % 2
    tracemalloc.start()
    try:
        kernel, bias = discriminant(features, truth, None, 2, shrinkage=0.3, smoothing=0.1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 45e6  # a block, the rows that choose the scale, and the covariance
    assert ((features[:100] @ kernel + bias).argmax(axis=1) == truth[:100]).all()
