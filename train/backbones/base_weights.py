"""EfficientNetB0 from the base that comes with lmedge: its integers as floats.

The batch norms of a base are folded into its convolutions. Here the kernel goes into the
convolution as it is, and the batch norm behind it keeps what it is given and adds the bias. That
holds as long as the batch norms stay as they are: their true averages are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from lmedge.base_file import BaseFile
from lmedge.operators import operator_name

from .tensors import STOCK_EPSILON, Floats, Layer, LayoutError, Tensors

BASE, BASE_BACKBONE = "base", "efficientnetb0"  # as `--weights` and `--backbone` name them
_CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D"}
_KERAS_AXES = (1, 2, 3, 0)  # of the kernels of both
_DTYPES = {schema.TensorType.INT8: np.int8, schema.TensorType.INT32: np.int32}


def read_base_weights(base: BaseFile, layers: Sequence[Layer]) -> tuple[Tensors, Floats]:
    """Return the weights of all layers, and the border of the image, (3,) in the network's units.

    Raises:
        LayoutError: if the base is of another network.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(base.data, 0))
    (graph,) = model.subgraphs
    found: dict[str, tuple[Floats, Floats]] = {}
    border = np.zeros(3, np.float32)
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = operator_name(max(code.builtinCode, code.deprecatedBuiltinCode))
        given = [graph.tensors[index] for index in operator.inputs if index >= 0]
        if kind == "CONCATENATION" and not found:
            border = _floats(model, given[-1]).reshape(-1, 3)[0]
        elif kind in _CONVOLUTIONS:
            kernel, bias = (_floats(model, one) for one in given[1:3])
            name = (given[1].name or b"").decode().split("/")[1]
            found[name] = kernel.transpose(_KERAS_AXES), bias
    return _by_layer(found, layers), border


def _floats(model: Any, tensor: Any) -> Floats:
    """Return the values of a constant tensor of integers."""
    stored = tensor.quantization
    integers = np.frombuffer(bytes(model.buffers[tensor.buffer].data), _DTYPES[tensor.type])
    shape = [1] * len(tensor.shape)
    shape[stored.quantizedDimension] = -1
    values = integers.reshape(tensor.shape).astype(np.float64)
    scale, zero = (
        np.asarray(one, np.float64).reshape(shape) for one in (stored.scale, stored.zeroPoint)
    )
    return np.asarray((values - zero) * scale, np.float32)


def _by_layer(found: dict[str, tuple[Floats, Floats]], layers: Sequence[Layer]) -> Tensors:
    """Return the weights by layer; a batch norm follows the convolution whose bias it gets."""
    tensors: Tensors = {}
    bias = np.zeros(0, np.float32)
    for layer in layers:
        if layer.kind == "batch_normalization":
            one = np.ones_like(bias)
            values = [one, bias, 0 * one, one - STOCK_EPSILON]
        elif layer.name in found:
            kernel, bias = found[layer.name]
            values = [kernel, bias][: len(layer.shapes)]
        else:
            raise LayoutError(f"it has no layer {layer.name}")
        for value, shape in zip(values, layer.shapes, strict=True):
            if value.shape != shape:
                raise LayoutError(f"{layer.name} is {value.shape}, expected is {shape}")
        tensors[layer.name] = values
    return tensors
