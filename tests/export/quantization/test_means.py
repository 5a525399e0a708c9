"""Averages: factors with which one rounding and two give the same steps."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from lmedge.export.quantization.grid import Grid, grid_of
from lmedge.export.quantization.means import (
    LEAST_BITS,
    factor_bits,
    mean_factor,
    settled_range,
)
from lmedge.operators import NAMES
from tests.export.conftest import Exported

RANGES = [((-0.21, 4.5), (-0.05, 1.1)), ((-0.28, 11.3), (-0.13, 0.84)), ((-0.1, 2.0), (0.0, 0.5))]


def differing(source: Grid, grid: Grid, count: int) -> int:
    """Return how many sums give another step if the product is not rounded."""
    factor = mean_factor(source, grid, count)
    zero = np.float32(grid.zero) - np.float32(count * source.zero) * factor
    sums = np.arange(-128 * count, 127 * count + 1)
    fused = (sums.astype(np.float64) * float(factor) + float(zero)).astype(np.float32)
    return int((np.rint(fused) != np.rint(sums.astype(np.float32) * factor + zero)).sum())


@pytest.mark.parametrize("count", [49, 196, 784, 3136])
@pytest.mark.parametrize(("source", "ends"), RANGES)
def test_one_rounding_and_two_give_the_same_steps(
    count: int, source: tuple[float, float], ends: tuple[float, float]
) -> None:
    given = grid_of(source)
    settled = settled_range(ends, given, count)
    assert settled[1] - settled[0] >= (ends[1] - ends[0]) * (1 - 1e-6)
    assert settled[1] - settled[0] < (ends[1] - ends[0]) * (1 + 2.0 ** (2 - factor_bits(count)))
    assert grid_of(settled).zero == grid_of(ends).zero
    assert differing(given, grid_of(settled), count) == 0


def test_ranges_from_calibration_do_not_give_the_same_steps() -> None:
    """Some of the sums lie so near a half that it matters; else there were nothing to settle."""
    for count in (196, 784, 3136):
        assert sum(differing(grid_of(source), grid_of(ends), count) for source, ends in RANGES) > 0


def test_sums_that_leave_no_bits_for_a_factor() -> None:
    assert [factor_bits(count) for count in (49, 196, 784, 3136, 12544)] == [11, 9, 7, 5, 3]
    assert factor_bits(12544) < LEAST_BITS <= factor_bits(3136)


def test_the_averages_of_a_file_have_such_ranges(exported: Exported) -> None:
    graph = schema.ModelT.InitFromPackedBuf(exported.path.read_bytes(), 0)
    (part,) = graph.subgraphs
    codes = [NAMES[max(x.builtinCode, x.deprecatedBuiltinCode)] for x in graph.operatorCodes]
    joined = {
        int(tensor)
        for one in part.operators
        if codes[one.opcodeIndex] == "CONCATENATION"
        for tensor in one.inputs
    }

    def grid(tensor: int) -> Grid:
        found = part.tensors[tensor].quantization
        return Grid(exact=float(found.scale[0]), zero=int(found.zeroPoint[0]))

    averages = [
        (int(one.inputs[0]), int(one.outputs[0]))
        for one in part.operators
        if codes[one.opcodeIndex] == "MEAN" and int(one.outputs[0]) not in joined
    ]
    assert averages
    for source, output in averages:
        count = int(np.prod(part.tensors[source].shape[1:3]))
        assert factor_bits(count) >= LEAST_BITS
        assert differing(grid(source), grid(output), count) == 0
