"""A float32 .tflite of ours as plain numbers: operations, shapes and constants.

Input of build_onnx.py, whose environment has neither lmedge nor a TFLite runtime. Field
numbers are those of TensorFlow's schema.fbs, version 3.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmedge.errors import ModelFileError
from lmedge.flatbuffer import Table
from lmedge.model_file import ModelFile
from lmedge.operators import operator_name

DTYPES = {0: np.float32, 2: np.int32, 3: np.uint8, 4: np.int64}
ACTIVATIONS = {0: None, 1: "Relu", 3: "Relu6"}
PADDINGS = {0: "SAME", 1: "VALID"}
Constants = dict[int, npt.NDArray[Any]]


def read_graph(model: ModelFile) -> tuple[dict[str, Any], Constants]:
    """Return the graph of the two heads as JSON takes it, and its constants by their tensor.

    A third output (`known`) is left out: its handful of operations on vectors takes no time that
    can be seen. Raises ModelFileError for an operation, a type or an activation that no float32
    file of ours has.
    """
    root = Table.root(model.data)
    codes = [max(code.integer(0, 0, "b"), code.integer(3)) for code in root.tables(1)]
    buffers, (graph,) = root.tables(4), root.tables(2)
    tensors = graph.tables(0)
    heads = {name: spec.index for name, spec in model.heads.items()}
    needed, operators = set(heads.values()), []
    for one in reversed(graph.tables(3)):
        if needed & set(one.integers(2)):
            needed |= set(one.integers(1)) - {-1}
            operators.append(one)
    constants: Constants = {}
    for index in sorted(needed):
        tensor = tensors[index]
        kind = tensor.integer(1, 0, "b")
        if kind not in DTYPES:
            raise ModelFileError(f"{model.path}: is not float32 throughout; pass a float32 file")
        data = buffers[tensor.integer(2, 0, "I")].bytes(0)
        if data:
            constants[index] = np.frombuffer(data, DTYPES[kind]).reshape(tensor.integers(0))
    found = {
        "image": model.image.index,
        "heads": heads,
        "shapes": [list(tensor.integers(0)) for tensor in tensors],
        "nodes": [_node(model, one, codes) for one in reversed(operators)],
    }
    return found, constants


def write_graph(model: ModelFile, folder: Path) -> None:
    """Write graph.json and constants.npz for build_onnx.py. Raises ModelFileError as read_graph."""
    graph, constants = read_graph(model)
    (folder / "graph.json").write_text(json.dumps(graph), "utf-8")
    np.savez(folder / "constants.npz", **{str(key): value for key, value in constants.items()})  # type: ignore[arg-type]


def _node(model: ModelFile, operator: Table, codes: list[int]) -> dict[str, Any]:
    code = codes[operator.integer(0, 0, "I")]
    op = operator_name(code)
    options = operator.table(4)
    node: dict[str, Any] = {
        "op": op,
        "inputs": list(operator.integers(1)),
        "outputs": list(operator.integers(2)),
    }
    if op not in _OPTIONS:
        raise ModelFileError(f"{model.path}: {op} is in no float32 file of ours")
    fields = _OPTIONS[op]
    if options is None:  # all of them have their defaults
        return node
    if "activation" in fields:
        kind = options.integer(fields["activation"], 0, "b")
        if kind not in ACTIVATIONS:
            raise ModelFileError(f"{model.path}: {op} with activation {kind} is in no file of ours")
        node["activation"] = ACTIVATIONS[kind]
    if "padding" in fields:
        node["padding"] = PADDINGS[options.integer(fields["padding"], 0, "b")]
    if "stride" in fields:  # the width comes first in the file
        first = fields["stride"]
        node["stride"] = [options.integer(first + 1), options.integer(first)]
    if "window" in fields:
        first = fields["window"]
        node["window"] = [options.integer(first + 1), options.integer(first)]
    if "axis" in fields:
        node["axis"] = options.integer(fields["axis"])
    if "keep" in fields:
        node["keep"] = bool(options.integer(fields["keep"], 0, "b"))
    return node


# operation -> the numbers of the fields that matter in its table of options
_OPTIONS: dict[str, dict[str, int]] = {
    "ADD": {"activation": 0},
    "SUB": {"activation": 0},
    "MUL": {"activation": 0},
    "CAST": {},
    "CONCATENATION": {"axis": 0, "activation": 1},
    "CONV_2D": {"padding": 0, "stride": 1, "activation": 3},
    "DEPTHWISE_CONV_2D": {"padding": 0, "stride": 1, "activation": 4},
    "FULLY_CONNECTED": {"activation": 0},
    "LOGISTIC": {},
    "MAX_POOL_2D": {"padding": 0, "stride": 1, "window": 3, "activation": 5},
    "MEAN": {"keep": 0},
    "RESHAPE": {},
    "SOFTMAX": {},
}
