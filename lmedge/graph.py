"""The graph of a .tflite: its input, its outputs by name, and its operators."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection
from typing import Any

from .errors import ModelFileError
from .flatbuffer import DamagedError, Table

# TensorType and BuiltinOperator of tensorflow/lite/schema/schema.fbs; the operators are those
# that image classifiers use, any other is shown by its number.
DTYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
}
OPERATORS = {
    0: "ADD",
    1: "AVERAGE_POOL_2D",
    2: "CONCATENATION",
    3: "CONV_2D",
    4: "DEPTHWISE_CONV_2D",
    6: "DEQUANTIZE",
    9: "FULLY_CONNECTED",
    14: "LOGISTIC",
    17: "MAX_POOL_2D",
    18: "MUL",
    19: "RELU",
    21: "RELU6",
    22: "RESHAPE",
    25: "SOFTMAX",
    34: "PAD",
    36: "GATHER",
    40: "MEAN",
    41: "SUB",
    42: "DIV",
    45: "STRIDED_SLICE",
    53: "CAST",
    60: "PADV2",
    74: "SUM",
    76: "RSQRT",
    77: "SHAPE",
    82: "REDUCE_MAX",
    83: "PACK",
    92: "SQUARE",
    99: "SQUARED_DIFFERENCE",
    100: "MIRROR_PAD",
    114: "QUANTIZE",
    117: "HARD_SWISH",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output of the graph; `index` is its tensor index in the runtime."""

    name: str
    index: int
    shape: tuple[int, ...]
    dtype: str


# Input, outputs by name, number of operators by name and dtype.
Graph = tuple[TensorSpec, dict[str, TensorSpec], dict[tuple[str, str], int]]


def read_graph(data: bytes, required: Collection[str], optional: str) -> Graph:
    """Return the input, the outputs by name, and the number of operators by name and dtype.

    Args:
        data: The bytes of a .tflite.
        required: Names of the outputs, by the file's signature.
        optional: Name of a further output that a file may have.

    Raises:
        ModelFileError: The graph has another shape.
        DamagedError: An offset or an index points outside the file.
    """
    model = Table.root(data)
    codes = [max(code.integer(0, 0, "b"), code.integer(3)) for code in model.tables(1)]
    subgraphs = model.tables(2)
    if len(subgraphs) != 1:
        raise ModelFileError(f"has {len(subgraphs)} subgraphs, one is expected")
    (graph,) = subgraphs
    tensors = graph.tables(0)

    def spec(index: int, name: str) -> TensorSpec:
        tensor = tensors[_inside(index, tensors)]
        dtype = DTYPES.get(tensor.integer(1, 0, "b"), "other")
        return TensorSpec(name=name, index=index, shape=tensor.integers(0), dtype=dtype)

    signatures = model.tables(7)
    if len(signatures) != 1:
        raise ModelFileError(
            "has no signature that names its heads; export it with `lmedge export`"
        )
    inputs = {entry.string(0): entry.integer(1, 0, "I") for entry in signatures[0].tables(0)}
    outputs = {entry.string(0): entry.integer(1, 0, "I") for entry in signatures[0].tables(1)}
    if set(outputs) - {optional} != set(required) or len(inputs) != 1:
        raise ModelFileError(f"its outputs are {sorted(outputs)}, not {sorted(required)}")
    if sorted(outputs.values()) != sorted(graph.integers(2)):
        raise ModelFileError("its signature names tensors that are not the graph's outputs")
    (image,) = (spec(index, name) for name, index in inputs.items())

    operators: collections.Counter[tuple[str, str]] = collections.Counter()
    for operator in graph.tables(3):
        code = codes[_inside(operator.integer(0, 0, "I"), codes)]
        results = operator.integers(2)
        dtype = spec(results[0], "").dtype if results else "none"
        operators[OPERATORS.get(code, f"OPERATOR_{code}"), dtype] += 1
    return image, {name: spec(index, name) for name, index in outputs.items()}, dict(operators)


def _inside(index: int, items: list[Any]) -> int:
    if not 0 <= index < len(items):
        raise DamagedError("an index points outside its list")
    return index
