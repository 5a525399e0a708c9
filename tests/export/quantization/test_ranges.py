"""Ranges: the least error where it counts, zero always exact, rounding as TensorFlow rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lmedge.export.quantization.ranges import (
    Observed,
    Range,
    _swish,
    choose_ranges,
    fake_quantize,
    least_error_range,
    nudge,
    observe,
)
from lmedge.train.arrays import normalise
from lmedge.train.backend import tf
from lmedge.train.network import load_network

if TYPE_CHECKING:
    from lmedge.train.run import Run


def seen(values: np.ndarray) -> Observed:
    samples = values.astype(np.float32)
    return Observed(
        samples=samples,
        channels=np.zeros(len(samples), np.int16),
        low=float(samples.min()),
        high=float(samples.max()),
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


class TestLeastError:
    @pytest.mark.parametrize("ends", [(-1.0, 1.0), (0.0, 6.0), (-3.0, 0.0), (-0.1, 40.0)])
    @pytest.mark.parametrize("count", [3000, 50_000])  # taken one by one, and condensed
    def test_a_uniform_tensor_keeps_its_whole_range(
        self, rng: np.random.Generator, ends: Range, count: int
    ) -> None:
        found = least_error_range(seen(rng.uniform(*ends, count)))
        assert found == pytest.approx(ends, abs=(ends[1] - ends[0]) / 255)

    def test_an_outlier_is_cut(self, rng: np.random.Generator) -> None:
        """One value in three million; among fifty thousand it would be worth its range."""
        values = rng.normal(0, 1, 3_000_000)
        values[0] = 60.0
        low, high = least_error_range(seen(values))
        assert 4 < high < 30
        assert -7 < low < -3

    @pytest.mark.parametrize("kind", ["uniform", "laplace", "student", "lognormal", "swish"])
    def test_it_is_about_the_best_there_is(self, rng: np.random.Generator, kind: str) -> None:
        values = {
            "uniform": rng.uniform(-1, 3, 4000),
            "laplace": rng.laplace(0, 1, 4000),
            "student": rng.standard_t(3, 4000),
            "lognormal": rng.lognormal(0, 1, 4000) - 0.1,
            "swish": _swish(rng.normal(0, 3, 4000).astype(np.float32)),
        }[kind].astype(np.float32)

        def error(low: float, high: float) -> float:
            return float(np.square(fake_quantize(values, low, high) - values).mean())

        shares = np.linspace(0.05, 1, 40)
        ends = float(values.min()), float(values.max())
        best = min(error(ends[0] * a, ends[1] * b) for a in shares for b in shares)
        assert error(*least_error_range(seen(values))) < 1.1 * best

    def test_the_negative_tail_in_front_of_a_swish_is_cut(self, rng: np.random.Generator) -> None:
        """As measured on the stem of EfficientNetB0: -60..67 becomes about -5..60."""
        values = rng.normal(0, 17, 50_000).clip(-60, 67)
        low, high = least_error_range(seen(values), _swish)
        assert -12 < low < -1
        assert high > 35
        plain_low, _ = least_error_range(seen(values))
        assert plain_low < -30

    @pytest.mark.parametrize("seed", range(20))
    def test_zero_is_inside(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        centre, width = rng.uniform(-50, 50), 10 ** rng.uniform(-4, 2)
        values = rng.normal(centre, width, 500)
        low, high = least_error_range(seen(values), _swish if seed % 2 else lambda x: x)
        assert low <= 0 <= high
        assert low < high
        scale, zero = nudge(low, high)
        assert scale > 0
        assert 0 <= zero <= 255
        assert fake_quantize(np.zeros(1, np.float32), low, high)[0] == 0

    @pytest.mark.parametrize("value", [0.0, 1e-9, -1e-9])
    def test_a_tensor_that_is_always_zero(self, value: float) -> None:
        low, high = least_error_range(seen(np.full(100, value)))
        assert low < 0 < high

    def test_a_constant_is_kept(self) -> None:
        low, high = least_error_range(seen(np.full(100, 3.0)))
        assert fake_quantize(np.full(1, 3.0, np.float32), low, high)[0] == pytest.approx(3.0, 0.01)


class TestNudge:
    def test_the_grid_is_that_of_tensorflow(self) -> None:
        """What is searched here, what training simulates and what the file holds is one grid.

        The zero point is the same integer, the ends are equal but for the last bit of a float32:
        TensorFlow computes the scale in float32.
        """
        far = tf.constant([-1e9, 1e9], tf.float32)
        for seed in range(500):
            rng = np.random.default_rng(seed)
            low, high = -(10 ** rng.uniform(-3, 2)), 10 ** rng.uniform(-3, 2)
            if seed % 5 == 0:
                low = 0.0
            if seed % 7 == 0:
                low, high = -high, 0.0
            theirs = tf.quantization.fake_quant_with_min_max_args(far, low, high).numpy()
            scale, zero = nudge(low, high)
            assert zero == round(-theirs[0] / scale), (low, high)
            ours = fake_quantize(far.numpy(), low, high)
            np.testing.assert_array_max_ulp(ours, theirs, maxulp=2)

    @pytest.mark.parametrize("seed", range(20))
    def test_every_value_falls_on_the_same_step(self, seed: int) -> None:
        """But for values half-way between two steps, where float32 decides."""
        rng = np.random.default_rng(seed)
        low, high = -rng.uniform(0.01, 20), rng.uniform(0.01, 20)
        x = rng.uniform(1.3 * low, 1.3 * high, 4000).astype(np.float32)
        theirs = tf.quantization.fake_quant_with_min_max_args(x, low, high).numpy()
        ours = fake_quantize(x, low, high)
        scale, _ = nudge(low, high)
        same = np.abs(ours - theirs) < 1e-4 * scale
        halfway = np.abs(x / scale % 1 - 0.5) < 1e-3
        assert (same | halfway).all()
        assert same.mean() > 0.995

    def test_the_input_range_is_exact(self) -> None:
        from lmedge.export.quantization.grid import INPUT_RANGE

        assert nudge(*INPUT_RANGE) == (pytest.approx(1 / 57, rel=1e-12), 114)


class TestImportance:
    def test_what_the_next_layer_reads_most_decides(self, rng: np.random.Generator) -> None:
        """Rare large values cost range unless they matter."""
        common, rare = rng.normal(0, 1, 20_000), rng.normal(0, 12, 400)
        values = seen(np.concatenate([common, rare]))
        weights = np.ones(len(values.samples))
        weights[len(common) :] = 1e-6
        low, high = least_error_range(values, importance=weights)
        assert max(-low, high) < 8
        low, high = least_error_range(values)
        assert max(-low, high) > 15

    def test_equal_weights_are_none(self, rng: np.random.Generator) -> None:
        values = seen(rng.standard_t(3, 20_000))
        weighted = least_error_range(values, importance=np.full(20_000, 3.0))
        assert weighted == pytest.approx(least_error_range(values))


class TestObserve:
    def test_every_tensor_is_seen_with_its_extremes(self, trained: Run) -> None:
        from lmedge.export.quantization.lower import lower

        lowered = lower(load_network(trained))
        images = normalise(trained.images("val"))
        observed = observe(lowered, images, np.random.default_rng(0), batch=5)
        assert set(observed) == {layer.name for layer in lowered.layers[1:]}
        inputs = observed["image_in"]
        assert (inputs.low, inputs.high) == (images.min(), images.max())
        for name, found in observed.items():
            assert found.samples.min() >= found.low, name
            assert found.samples.max() <= found.high, name
            assert len(found.channels) == len(found.samples), name
            channels = lowered.get_layer(name).output.shape[-1]
            assert set(found.channels) == set(range(channels)), name
        for name, (low, high) in choose_ranges(lowered, observed).items():
            assert low <= 0 <= high, name
            assert low < high, name
