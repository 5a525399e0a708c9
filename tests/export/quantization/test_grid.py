"""The values a tensor of the file can have: those that the converter makes of a range or kernel."""

from __future__ import annotations

import numpy as np
import pytest

from lmedge.export.quantization.grid import (
    INPUT_RANGE,
    SIGMOID_RANGE,
    grid_of,
    kernel_scale,
    on_grid,
)


def test_the_fixed_ranges() -> None:
    image, sigmoid = grid_of(INPUT_RANGE), grid_of(SIGMOID_RANGE)
    assert (image.scale, image.zero) == (np.float32(1 / 57), 114 - 128)
    assert (sigmoid.scale, sigmoid.zero) == (np.float32(1 / 256), -128)
    assert (sigmoid.lowest, sigmoid.highest) == (0, 255)


@pytest.mark.parametrize("ends", [(-0.278, 14.2), (-3.0, 1e-3), (0.0, 6.0), (-70.0, 61.5)])
def test_zero_is_a_step_and_the_range_is_covered(ends: tuple[float, float]) -> None:
    grid = grid_of(ends)
    assert -128 <= grid.zero <= 127
    assert grid.lowest * grid.exact == pytest.approx(ends[0], abs=0.51 * grid.exact)
    assert grid.highest * grid.exact == pytest.approx(ends[1], abs=0.51 * grid.exact)


def test_every_step_of_a_kernel_is_exact_and_found_again_by_its_largest() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 3, 40, 64)).astype(np.float32)
    scale = np.asarray(kernel_scale(kernel, 3))
    steps = np.arange(-127, 128, dtype=np.float64)
    products = steps[:, None] * scale.ravel().astype(np.float64)
    assert np.array_equal(products.astype(np.float32).astype(np.float64), products)
    largest = np.abs(np.asarray(on_grid(kernel, 3))).max(axis=(0, 1, 2)).astype(np.float64)
    assert np.array_equal((largest / 127).astype(np.float32), scale.ravel())
    assert np.abs(scale.ravel() * 127 / np.abs(kernel).max(axis=(0, 1, 2)) - 1).max() < 2**-14
