"""Graphs with one thing changed, or with operators added behind the image, as an attacker would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

CODES = {name: code for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
TYPES = {np.dtype(name): code for name, code in (("float32", 0), ("int32", 2), ("uint8", 3))}


def edited(body: bytes, change: Callable[[Graph], object]) -> bytes:
    """Return a graph after a change of its objects."""
    graph = Graph(body)
    change(graph)
    return graph.packed()


class Graph:
    """The objects of a .tflite with one subgraph."""

    def __init__(self, body: bytes) -> None:
        self.model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(body, 0))
        self.main = self.model.subgraphs[0]

    def packed(self) -> bytes:
        builder = flatbuffers.Builder(65536)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    @property
    def image(self) -> int:
        return int(self.main.inputs[0])

    def output(self, name: str) -> int:
        (signature,) = self.model.signatureDefs
        found = {entry.name.decode(): entry.tensorIndex for entry in signature.outputs}
        return int(found[name])

    def tensor(self, shape: Sequence[int], dtype: str = "float32", data: Any = None) -> int:
        """Add a tensor, a constant with `data`, and return its index."""
        tensor = schema.TensorT()
        tensor.shape, tensor.type = list(shape), TYPES[np.dtype(dtype)]
        tensor.name, tensor.buffer = b"added", 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(data, dtype).tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.main.tensors.append(tensor)
        return len(self.main.tensors) - 1

    def constant(self, data: Any, dtype: str = "float32") -> int:
        values = np.asarray(data, dtype)
        return self.tensor(values.shape, dtype, values)

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        output: int,
        options: Any = None,
        *,
        place: int | None = None,
    ) -> int:
        """Add an operator that writes `output`, at the end or at a place, and return `output`."""
        code = schema.OperatorCodeT()
        code.builtinCode, code.version = CODES[name], 1
        code.deprecatedBuiltinCode = min(CODES[name], 127)
        self.model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = list(inputs), [output]
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        where = len(self.main.operators) if place is None else place
        self.main.operators.insert(where, operator)
        return output

    def cast(self, source: int, shape: Sequence[int], dtype: str) -> int:
        options = schema.CastOptionsT()
        options.inDataType = self.main.tensors[source].type
        options.outDataType = TYPES[np.dtype(dtype)]
        return self.operator("CAST", [source], self.tensor(shape, dtype), options)

    def brightness(self) -> int:
        """Add the mean of the image, float32 of no dimensions."""
        shape = [int(side) for side in self.main.tensors[self.image].shape]
        pixels = self.cast(self.image, shape, "float32")
        axes = self.constant([0, 1, 2, 3], "int32")
        return self.operator("MEAN", [pixels, axes], self.tensor(()), schema.ReducerOptionsT())

    def spread(self, number: int) -> None:
        """Make both heads, and `known`, of a number of no dimensions: softmax(number x weights)."""
        (signature,) = self.model.signatureDefs
        for entry in signature.outputs:
            count = int(self.main.tensors[entry.tensorIndex].shape[1])
            weights = self.constant(np.linspace(0, 0.01, count)[None])
            product = self.operator(
                "MUL", [number, weights], self.tensor((1, count)), schema.MulOptionsT()
            )
            options = schema.SoftmaxOptionsT()
            options.beta = 1.0
            entry.tensorIndex = self.operator(
                "SOFTMAX", [product], self.tensor((1, count)), options
            )
        self.main.outputs = [entry.tensorIndex for entry in signature.outputs]

    def scale_output(self, name: str, factors: Sequence[float]) -> None:
        """Multiply an output by constants."""
        (signature,) = self.model.signatureDefs
        (entry,) = (one for one in signature.outputs if one.name.decode() == name)
        old = entry.tensorIndex
        shape = [int(side) for side in self.main.tensors[old].shape]
        weights = self.constant(np.asarray(factors, np.float32)[None])
        new = self.operator("MUL", [old, weights], self.tensor(shape), schema.MulOptionsT())
        entry.tensorIndex = new
        self.main.outputs = [new if int(one) == old else one for one in self.main.outputs]
