"""Build the network of a float32 .tflite as ONNX, and quantize it as onnxruntime does.

    python build_onnx.py FOLDER

FOLDER contains graph.json and constants.npz (graph.py) and images.npy, (N, S, S, 3) uint8 RGB, for
the calibration. The script writes float32.onnx and int8.onnx beside them. It is run by its path in
onnxruntime's environment, which has onnx and onnxruntime but not lmedge.

TFLite is NHWC, onnxruntime's kernels are NCHW: the image is turned once, at the start, and
everything with four dimensions stays turned until the means over height and width.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

OPSET = 17
TURN = (0, 3, 1, 2)  # NHWC -> NCHW
Array = npt.NDArray[Any]


class GraphBuilder:
    """The ONNX graph as it grows; tensors are called by their index in the .tflite."""

    def __init__(self, graph: dict[str, Any], constants: dict[int, Array]) -> None:
        self.graph, self.constants = graph, constants
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def build(self) -> Any:
        """Return the checked model."""
        import onnx
        from onnx import TensorProto, helper

        shapes, image = self.graph["shapes"], self.graph["image"]
        self.emit("Transpose", ["image"], f"t{image}", perm=list(TURN))
        for node in self.graph["nodes"]:
            getattr(self, f"_{node['op'].lower()}")(node)
        outputs = []
        for head, index in self.graph["heads"].items():
            self.emit("Identity", [f"t{index}"], head)
            outputs.append(helper.make_tensor_value_info(head, TensorProto.FLOAT, shapes[index]))
        entry = helper.make_tensor_value_info("image", TensorProto.UINT8, shapes[image])
        built = helper.make_graph(self.nodes, "lmedge", [entry], outputs, self.weights)
        model = helper.make_model(built, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 8  # of that opset; onnxruntime is behind onnx
        onnx.checker.check_model(model, full_check=True)
        return model

    def emit(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add an operation with one output."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def weight(self, name: str, value: Array) -> str:
        """Add a constant."""
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _is_map(self, index: int) -> bool:
        return len(self.graph["shapes"][index]) == 4

    def _operand(self, index: int, like: int) -> str:
        """Return a tensor, or a constant shaped so that it goes with the tensor `like`."""
        if index not in self.constants:
            return f"t{index}"
        value, name = self.constants[index], f"c{index}_{len(self.weights)}"
        if self._is_map(like) and value.ndim == 4:
            value = value.transpose(TURN)
        elif self._is_map(like) and value.ndim == 1:
            value = value[:, None, None]
        return self.weight(name, value)

    def _end(self, node: dict[str, Any], op: str, inputs: list[str], **attributes: Any) -> None:
        """Add the operation of a node, with its activation behind it."""
        output, activation = f"t{node['outputs'][0]}", node.get("activation")
        if activation is None:
            self.emit(op, inputs, output, **attributes)
            return
        before = self.emit(op, inputs, f"{output}_before", **attributes)
        if activation == "Relu":
            self.emit("Relu", [before], output)
        else:
            low = self.weight(f"{output}_low", np.array(0, np.float32))
            high = self.weight(f"{output}_high", np.array(6, np.float32))
            self.emit("Clip", [before, low, high], output)

    def _binary(self, node: dict[str, Any], op: str) -> None:
        result = node["outputs"][0]
        self._end(node, op, [self._operand(index, result) for index in node["inputs"]])

    def _add(self, node: dict[str, Any]) -> None:
        self._binary(node, "Add")

    def _sub(self, node: dict[str, Any]) -> None:
        self._binary(node, "Sub")

    def _mul(self, node: dict[str, Any]) -> None:
        self._binary(node, "Mul")

    def _logistic(self, node: dict[str, Any]) -> None:
        self._end(node, "Sigmoid", [f"t{node['inputs'][0]}"])

    def _softmax(self, node: dict[str, Any]) -> None:
        self._end(node, "Softmax", [f"t{node['inputs'][0]}"], axis=-1)

    def _cast(self, node: dict[str, Any]) -> None:
        from onnx import TensorProto

        self._end(node, "Cast", [f"t{node['inputs'][0]}"], to=TensorProto.FLOAT)

    def _reshape(self, node: dict[str, Any]) -> None:
        """Reshape vectors, such as the mean over height and width."""
        result = node["outputs"][0]
        shape = self.weight(f"s{result}", np.array(self.graph["shapes"][result], np.int64))
        self._end(node, "Reshape", [f"t{node['inputs'][0]}", shape])

    def _concatenation(self, node: dict[str, Any]) -> None:
        result, axis = node["outputs"][0], node["axis"]
        if self._is_map(result):
            axis = TURN.index(axis % 4)
        self._end(
            node, "Concat", [self._operand(index, result) for index in node["inputs"]], axis=axis
        )

    def _mean(self, node: dict[str, Any]) -> None:
        source, axes = node["inputs"]
        if sorted(int(axis) % 4 for axis in self.constants[axes].reshape(-1)) != [1, 2]:
            raise ValueError("a mean over other axes than height and width")
        self._end(
            node, "ReduceMean", [f"t{source}"], axes=[2, 3], keepdims=int(node.get("keep", False))
        )

    def _fully_connected(self, node: dict[str, Any]) -> None:
        source, kernel, bias = node["inputs"]
        names = [self.weight(f"w{node['outputs'][0]}", self.constants[kernel].T)]
        if bias >= 0:
            names.append(self.weight(f"b{node['outputs'][0]}", self.constants[bias]))
        self._end(node, "Gemm", [f"t{source}", *names])

    def _conv_2d(self, node: dict[str, Any]) -> None:
        self._convolution(node, self.constants[node["inputs"][1]].transpose(TURN), 1)

    def _depthwise_conv_2d(self, node: dict[str, Any]) -> None:
        kernel = self.constants[node["inputs"][1]]  # (1, height, width, channels)
        self._convolution(node, kernel.transpose(3, 0, 1, 2), kernel.shape[3])

    def _convolution(self, node: dict[str, Any], kernel: Array, groups: int) -> None:
        source, _, bias = node["inputs"]
        result = node["outputs"][0]
        names = [self.weight(f"w{result}", kernel)]
        if bias >= 0:
            names.append(self.weight(f"b{result}", self.constants[bias]))
        self._end(
            node,
            "Conv",
            [f"t{source}", *names],
            group=groups,
            strides=node["stride"],
            kernel_shape=list(kernel.shape[2:]),
            pads=self._pads(node, kernel.shape[2:]),
        )

    def _max_pool_2d(self, node: dict[str, Any]) -> None:
        self._end(
            node,
            "MaxPool",
            [f"t{node['inputs'][0]}"],
            strides=node["stride"],
            kernel_shape=node["window"],
            pads=self._pads(node, node["window"]),
        )

    def _pads(self, node: dict[str, Any], window: Any) -> list[int]:
        """Return the pixels of TFLite's "same" padding: top, left, bottom, right."""
        if node["padding"] == "VALID":
            return [0, 0, 0, 0]
        sides = self.graph["shapes"][node["inputs"][0]][1:3]
        before, after = [], []
        for side, step, reach in zip(sides, node["stride"], window, strict=True):
            more = max(0, (-(-side // step) - 1) * step + int(reach) - side)
            before.append(more // 2)
            after.append(more - more // 2)
        return [*before, *after]


class Images:
    """Reader for onnxruntime's calibration: one image at a time."""

    def __init__(self, images: Array) -> None:
        self._rest: Iterator[Array] = iter(images)

    def get_next(self) -> dict[str, Array] | None:
        """Return the next input, None at the end."""
        image = next(self._rest, None)
        return None if image is None else {"image": image[None]}


def main(folder: Path) -> None:
    """Write float32.onnx and int8.onnx."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    graph = json.loads((folder / "graph.json").read_text("utf-8"))
    with np.load(folder / "constants.npz") as stored:
        constants = {int(name): stored[name] for name in stored.files}
    onnx.save(GraphBuilder(graph, constants).build(), folder / "float32.onnx")
    ready = folder / "ready.onnx"
    # Every shape is fixed, so that none need be inferred by symbols.
    quant_pre_process(str(folder / "float32.onnx"), str(ready), skip_symbolic_shape=True)
    # As onnxruntime's documentation advises for x86-64: QDQ, unsigned activations, signed weights
    # by channel.
    quantize_static(
        str(ready),
        str(folder / "int8.onnx"),
        Images(np.load(folder / "images.npy")),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
