"""The tensors and operators of a graph, and the steps of the integers behind an output."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from .flatbuffer import Table

_SCALES = 1 << 16  # of a tensor quantized by channel


class GraphTensor(NamedTuple):
    """One tensor; `table` is that of the file."""

    shape: tuple[int, ...]
    dtype: str
    bytes: int
    constant: bool
    table: Table


class GraphOperator(NamedTuple):
    """One operator, with the indices of its tensors; -1 is an input that it does not have."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class OutputSteps:
    """The steps of outputs, read back from the operators that write them."""

    def __init__(
        self,
        tensors: Sequence[GraphTensor],
        operators: Sequence[GraphOperator],
        buffers: Sequence[Table],
    ) -> None:
        """Take a checked graph: each tensor is written once, and indices are inside."""
        self._tensors, self._buffers = tensors, buffers
        self._writers = {index: one for one in operators for index in one.outputs}

    def of_integers(self, index: int) -> float:
        """Return the step of the integers that a float32 output was computed in, otherwise 0."""
        source = self._source("DEQUANTIZE", index)
        return 0.0 if source is None else self._scale(source)

    def of_logits(self, index: int) -> float:
        """Return the step of the int8 logits whose softmax an output is, otherwise 0.

        The graph is SOFTMAX(DEQUANTIZE(logits)), or has a MUL by one constant between the two.
        """
        logits, factor = self._source("SOFTMAX", index), 1.0
        scaled = None if logits is None else self._writers.get(logits)
        if scaled is not None and scaled.name == "MUL":
            scalars = [place for place in scaled.inputs if self._tensors[place].constant]
            others = [place for place in scaled.inputs if not self._tensors[place].constant]
            if len(scalars) != 1 or len(others) != 1:
                return 0.0
            logits, factor = others[0], self._scalar(scalars[0])
        steps = self._source("DEQUANTIZE", logits)
        if steps is None or self._tensors[steps].dtype != "int8":
            return 0.0
        return max(0.0, factor * self._scale(steps))

    def _source(self, name: str, index: int | None) -> int | None:
        """Return the first input of the operator that writes a tensor, if it is the one named."""
        one = None if index is None else self._writers.get(index)
        if one is None or one.name != name or not one.inputs or one.inputs[0] == -1:
            return None
        return one.inputs[0]

    def _scale(self, index: int) -> float:
        return quantization(self._tensors[index].table)[0]

    def _scalar(self, index: int) -> float:
        """Return the one float32 of a constant, otherwise 0."""
        tensor = self._tensors[index]
        if tensor.dtype != "float32" or tensor.bytes != 4:
            return 0.0
        (value,) = struct.unpack("<f", self._buffers[tensor.table.integer(2, 0, "I")].bytes(0))
        return float(value)


def quantization(table: Table) -> tuple[float, int]:
    """Return the scale and the zero point of a tensor; 0 and 0 without one of each."""
    found = table.table(4)
    scales = () if found is None else found.floats(2, _SCALES)
    zeros = () if found is None else found.longs(3, _SCALES)
    if len(scales) != 1 or len(zeros) > 1:
        return 0.0, 0
    return scales[0], zeros[0] if zeros else 0
