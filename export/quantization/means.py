"""Ranges for averages that are the same integers on every processor.

The kernel of an average sums whole numbers, multiplies by a float32 factor, and adds the zero point
in float32. Processors that fuse both operations round once, others twice: near a half they give
neighbouring steps, and what follows a squeeze multiplies such a step into a whole map. If the
factor has few significant bits, every product is exact, and both round once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from lmedge.train.backend import keras

from .grid import Grid, grid_of, is_joined, scheme_range
from .lower import input_names
from .ranges import Range

MANTISSA = 24  # significant bits of a float32
LEAST_BITS = 5  # of a factor: with fewer, a range could grow by an eighth
_FACTORS = 4  # factors that are tried, each with a range that is larger by a unit
_MOVES = 512  # upper ends that are tried on both sides, neighbours in float32


def mean_factor(source: Grid, grid: Grid, count: int) -> np.float32:
    """Return the factor, float32, that the kernel of an average over `count` values computes."""
    return np.float32(source.scale / grid.scale * np.float32(np.float32(1.0) / np.float32(count)))


def factor_bits(count: int) -> int:
    """Return the significant bits of a factor whose product with every sum is exact.

    Sums are of `count` numbers from -128 to 127, as the kernel has them.
    """
    return MANTISSA - (128 * count - 1).bit_length()


def settle_means(lowered: keras.Model, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Return the ranges of a lowered network, those of averages a little larger.

    Left as they are: averages over so many values that no short factor is near, those that are
    only joined with others, whose range is that of the joined ones, and those of a maximum.
    """
    settled = dict(ranges)
    for layer in lowered.layers:
        if not isinstance(layer, keras.layers.GlobalAveragePooling2D) or is_joined(layer):
            continue
        (name,) = input_names(layer)
        ends = scheme_range(lowered.get_layer(name), settled)
        count = int(np.prod(layer.input.shape[1:3]))
        if ends is not None and factor_bits(count) >= LEAST_BITS:
            settled[layer.name] = settled_range(settled[layer.name], grid_of(ends), count)
    return settled


def settled_range(ends: Range, source: Grid, count: int) -> Range:
    """Return the least larger range with a short factor, with the same zero point.

    Returns `ends` if there is none among the neighbours that are tried.

    Args:
        ends: The range of an average from calibration.
        source: The grid of what is averaged.
        count: The number of values that are averaged.
    """
    grid = grid_of(ends)
    inverse = float(np.float32(1.0) / np.float32(count))
    exact = source.exact / grid.exact * inverse
    unit = 2.0 ** (np.frexp(exact)[1] - factor_bits(count))
    for step in range(_FACTORS):
        factor = np.float32((np.floor(exact / unit) - step) * unit)
        scale = source.exact * inverse / float(factor)
        for moved in _near((-128 - grid.zero) * scale, (127 - grid.zero) * scale):
            found = grid_of(moved)
            if found.zero == grid.zero and mean_factor(source, found, count) == factor:
                return moved
    return ends


def _near(low: float, high: float) -> Iterator[Range]:
    """Yield a range and those with a neighbouring upper end, the nearest first."""
    first = np.float32(high)
    for move in range(_MOVES):
        for sign in (1, -1) if move else (1,):
            bits = first.view(np.int32) + sign * move
            yield float(np.float32(low)), float(np.int32(bits).view(np.float32))
