"""The graph of a taught file: heads in float32 behind a backbone, which stays as it is.

With u the features divided by their length and by the deviation of each, a head is FULLY_CONNECTED,
MUL by 1 / temperature and SOFTMAX. The output `known` is the logistic function of a sum: the
largest value of the landmark regression, the sum of the squares of all its values, and what the
squared distance of u from the plane through the means of the landmarks exceeds a limit by.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from ..base_file import FEATURES
from ..model_file import HEADS, KNOWN
from ..operators import DTYPES, NAMES
from .backbone import TAUGHT_PREFIX, packed
from .fitting import SHARPNESS, TaughtHeads

TINY = 1e-12  # added to a squared length
Float32 = npt.NDArray[np.float32]
_TYPES = {name: number for number, name in DTYPES.items()}


def with_heads(backbone: bytes, heads: TaughtHeads) -> bytes:
    """Return the bytes of a .tflite: the backbone's graph with heads behind its features."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(backbone, 0))
    build = _Builder(model)
    length = _unit(build, int(model.subgraphs[0].outputs[0]))
    factor = build.constant("deviation", 1 / heads.deviation.astype(np.float64)[None])
    unit = build.apply("MUL", "scaled", [length, factor], like=length)
    outputs, scores = {}, {}
    for name in HEADS:
        head = heads.heads[name]
        scores[name] = build.dense(f"{name}/scores", unit, head.kernel.T, head.bias)
        factor = build.constant(f"{name}/sharpness", np.array([1 / head.temperature]))
        scaled = build.apply("MUL", f"{name}/logits", [scores[name], factor], like=scores[name])
        outputs[name] = build.apply("SOFTMAX", name, [scaled], like=scaled)
    outputs[KNOWN] = _known(build, heads, unit, scores["landmark"])
    build.finish(outputs)
    return packed(model)


def _unit(build: _Builder, features: int) -> int:
    """Divide the features by their length."""
    if build.dtype(features) != "float32":
        features = build.apply("DEQUANTIZE", FEATURES, [features], like=features)
    axes = build.constant("axes", np.array([1], np.int32))
    square = build.apply("SQUARE", "square", [features], like=features)
    total = build.apply("SUM", "sum", [square, axes], shape=(1, 1))
    shifted = build.apply("ADD", "shifted", [total, build.constant("tiny", np.array([TINY]))])
    length = build.apply("RSQRT", "length", [shifted])
    return build.apply("MUL", "unit", [features, length], like=features)


def _known(build: _Builder, heads: TaughtHeads, unit: int, scores: int) -> int:
    known = heads.known
    axes = build.constant("axes/known", np.array([1], np.int32))
    one = (1, 1)

    def times(name: str, value: int, factor: float) -> int:
        number = build.constant(f"known/{name}/factor", np.array([factor]))
        return build.apply("MUL", f"known/{name}", [value, number])

    def squares(name: str, value: int) -> int:
        each = build.apply("SQUARE", f"known/{name}/squares", [value], like=value)
        return build.apply("SUM", f"known/{name}/sum", [each, axes], shape=one)

    largest = build.apply("REDUCE_MAX", "known/largest", [scores, axes], shape=one)
    sum_of = times("likeness", largest, known.likeness / SHARPNESS)
    length = times("length", squares("values", scores), known.length / SHARPNESS**2)
    sum_of = build.apply("ADD", "known/values", [sum_of, length])
    centre = build.constant("known/centre", -heads.centre[None])
    off = build.apply("ADD", "known/off", [unit, centre], like=unit)
    away = squares("away", off)
    if heads.basis.shape[1]:
        inside = build.dense("known/inside", off, heads.basis.T, np.zeros(heads.basis.shape[1]))
        away = build.apply("SUB", "known/away", [away, squares("inside", inside)])
    limit = build.constant("known/limit", np.array([-known.limit]))
    beyond = build.apply("RELU", "known/beyond", [build.apply("ADD", "known/far", [away, limit])])
    sum_of = build.apply("ADD", "known/all", [sum_of, times("distance", beyond, known.distance)])
    offset = build.constant("known/offset", np.array([known.offset]))
    chance = build.apply(
        "LOGISTIC", "known/chance", [build.apply("ADD", "known/place", [sum_of, offset])]
    )
    signs = build.constant("known/signs", np.array([[1.0, -1.0]]))
    signed = build.apply("MUL", "known/signed", [chance, signs], shape=(1, 2))
    complement = build.constant("known/complement", np.array([[0.0, 1.0]]))
    return build.apply("ADD", KNOWN, [signed, complement], shape=(1, 2))


class _Builder:
    """Tensors and operators at the end of a graph, in the object API of the schema."""

    def __init__(self, model: Any) -> None:
        self._model, self._graph = model, model.subgraphs[0]
        self._codes: dict[str, int] = {}

    def dtype(self, index: int) -> str:
        """Return the NumPy name of a tensor's type."""
        return DTYPES[self._graph.tensors[index].type]

    def constant(self, name: str, values: npt.NDArray[Any]) -> int:
        """Add a constant: int32 if the values are, otherwise float32."""
        whole = values.dtype == np.int32
        stored = np.ascontiguousarray(values if whole else values.astype(np.float32))
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(stored.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        return self._tensor(
            name, stored.shape, "int32" if whole else "float32", len(self._model.buffers) - 1
        )

    def _tensor(self, name: str, shape: tuple[int, ...], dtype: str, buffer: int = 0) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.buffer = TAUGHT_PREFIX + name.encode(), buffer
        tensor.shape, tensor.type = np.array(shape, np.int32), _TYPES[dtype]
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def dense(self, name: str, rows: int, kernel: npt.NDArray[Any], bias: npt.NDArray[Any]) -> int:
        """Add a FULLY_CONNECTED of (K, F) kernel and (K,) bias."""
        inputs = [
            rows,
            self.constant(f"{name}/kernel", kernel),
            self.constant(f"{name}/bias", bias),
        ]
        return self.apply("FULLY_CONNECTED", name, inputs, shape=(1, len(kernel)))

    def apply(
        self,
        operator: str,
        name: str,
        inputs: list[int],
        *,
        like: int | None = None,
        shape: tuple[int, ...] = (1, 1),
    ) -> int:
        """Add an operator with one float32 output, of the shape of the tensor `like` if given."""
        if like is not None:
            shape = tuple(int(side) for side in self._graph.tensors[like].shape)
        made = schema.OperatorT()
        made.opcodeIndex = self._code(operator)
        made.inputs = np.array(inputs, np.int32)
        made.outputs = np.array([self._tensor(name, shape, "float32")], np.int32)
        options = _OPTIONS.get(operator)
        if options is not None:
            made.builtinOptions = getattr(schema, f"{options}T")()
            made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        if options == "ReducerOptions":
            made.builtinOptions.keepDims = True
        if options == "SoftmaxOptions":
            made.builtinOptions.beta = 1.0
        self._graph.operators.append(made)
        return int(made.outputs[0])

    def _code(self, operator: str) -> int:
        if operator not in self._codes:
            code = schema.OperatorCodeT()
            code.builtinCode = NAMES.index(operator)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            code.version = 2 if operator == "DEQUANTIZE" else 1
            self._model.operatorCodes.append(code)
            self._codes[operator] = len(self._model.operatorCodes) - 1
        return self._codes[operator]

    def finish(self, outputs: dict[str, int]) -> None:
        """Make tensors the outputs, by name."""
        self._graph.outputs = np.array(list(outputs.values()), np.int32)
        entries = []
        for name, index in outputs.items():
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name.encode(), index
            entries.append(entry)
        self._model.signatureDefs[0].outputs = entries


_OPTIONS = {
    "ADD": "AddOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "MUL": "MulOptions",
    "REDUCE_MAX": "ReducerOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SQUARE": "SquareOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
}
