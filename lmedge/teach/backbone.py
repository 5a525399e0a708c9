"""The backbone of a file: its graph up to the pooled features, cut off byte for byte.

The features are the tensor that the first FULLY_CONNECTED reads, whatever writes it. A taught file
divides them by their length first; there they are what its first operator of the heads reads. The
cut is canonical: operators, tensors, buffers and operator codes that the features do not need are
gone, the others keep their order. Cutting a taught file gives the backbone of its base again.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from ..base_file import FEATURES, BaseFile
from ..errors import ModelFileError
from ..graph import TensorSpec, read_graph
from ..image import Resize, RgbImage, prepare_into
from ..metadata import METADATA_NAME
from ..model_file import DAMAGE, IDENTIFIER, ModelFile
from ..operators import operator_name
from ..runner import FeatureRunner, brief
from ..trial import survive

DENSE = "FULLY_CONNECTED"
TAUGHT_PREFIX = b"taught/"  # of the names of all tensors of taught heads
Stored = npt.NDArray[np.int8]  # (..., F) features as they are kept


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureGraph:
    """The graph from the image to the pooled features, and how images are prepared for it.

    Attributes:
        path: Name of the file that it was cut off, used in errors.
        data: The bytes of a .tflite whose only output are the features.
        image: The input, (1, S, S, 3) uint8.
        features: The output, (1, F).
        resize: The way to make an image square.
    """

    path: Path = dataclasses.field(compare=False)
    data: bytes = dataclasses.field(repr=False)
    image: TensorSpec
    features: TensorSpec
    resize: Resize

    @property
    def size(self) -> int:
        """Side of the square input in pixels."""
        return self.image.shape[1]

    @property
    def width(self) -> int:
        """Number of features."""
        return self.features.shape[-1]

    @property
    def zero(self) -> int:
        """The zero point of int8 features; 0 for others."""
        return self.features.zero_point if self.features.dtype == "int8" else 0

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of `data`."""
        return hashlib.sha256(self.data).hexdigest()

    @classmethod
    def of(cls, model: ModelFile | BaseFile) -> FeatureGraph:
        """Cut the backbone off a checked file, after the file has run in a child process.

        Raises:
            ModelFileError: The file has no pooled features, takes int8 pixels, or does not survive.
        """
        if model.image.dtype != "uint8":
            raise ModelFileError(
                f"{model.path}: takes int8 pixels; pass a file exported without --io int8"
            )
        survive(model)
        try:
            graph = cut(model.data)
            found = cls.of_graph(graph, model.resize, model.path)
        except ModelFileError as error:
            raise ModelFileError(f"{model.path}: {error}") from None
        except (*DAMAGE, AttributeError, RuntimeError) as error:
            raise ModelFileError(
                f"{model.path}: its backbone cannot be used ({brief(error)}); pass a file that "
                "lmedge exported"
            ) from error
        FeatureReader(found)
        return found

    @classmethod
    def of_graph(cls, graph: bytes, resize: Resize, path: Path = Path(FEATURES)) -> FeatureGraph:
        """Describe a graph that `cut` returned."""
        facts = read_graph(graph, (FEATURES,), "")
        return cls(
            path=path,
            data=graph,
            image=facts.image,
            features=facts.outputs[FEATURES],
            resize=resize,
        )


def cut(data: bytes) -> bytes:
    """Return the graph of a .tflite up to its pooled features, which become its only output.

    The bytes must have passed `parse_model`. Raises ModelFileError without such features.
    """
    model = _read(data)
    (graph,) = model.subgraphs
    features, last = _features(model, graph)
    if len(graph.tensors[features].shape) != 2:
        raise ModelFileError("its pooled features are no vector; pass a file that lmedge exported")
    graph.operators = _needed(graph.operators[:last], features)
    graph.outputs = np.array([features], np.int32)
    _prune(model, graph)
    (signature,) = model.signatureDefs
    signature.inputs[0].tensorIndex = int(graph.inputs[0])
    output = schema.TensorMapT()
    output.name, output.tensorIndex = FEATURES.encode(), int(graph.outputs[0])
    signature.outputs = [output]
    return packed(model)


def _features(model: Any, graph: Any) -> tuple[int, int]:
    """Return the tensor of the features, and the place of the first operator that reads it."""
    names = [
        operator_name(max(code.builtinCode, code.deprecatedBuiltinCode))
        for code in model.operatorCodes
    ]
    for place, one in enumerate(graph.operators):
        written = graph.tensors[int(one.outputs[0])].name or b""
        if written.startswith(TAUGHT_PREFIX) or names[one.opcodeIndex] == DENSE:
            return int(one.inputs[0]), place
    if len(graph.outputs) == 1:  # a backbone alone
        return int(graph.outputs[0]), len(graph.operators)
    raise ModelFileError("has no pooled features; pass a file that lmedge exported")


def _read(data: bytes) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))


def packed(model: Any) -> bytes:
    """Return the bytes of a model as the object API of the schema holds it."""
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _needed(operators: list[Any], output: int) -> list[Any]:
    """Return the operators that a tensor depends on, in their order."""
    wanted, kept = {output}, []
    for one in reversed(operators):
        if not wanted.isdisjoint(map(int, one.outputs)):
            wanted.update(int(index) for index in one.inputs if index >= 0)
            kept.append(one)
    return kept[::-1]


def _prune(model: Any, graph: Any) -> None:
    """Drop tensors, buffers, operator codes and metadata that nothing uses any more."""
    used = {int(index) for index in (*graph.inputs, *graph.outputs)}
    for one in graph.operators:
        used.update(int(index) for index in (*one.inputs, *one.outputs) if index >= 0)
    tensors = {old: new for new, old in enumerate(sorted(used))}
    graph.tensors = [graph.tensors[old] for old in tensors]
    graph.inputs, graph.outputs = (
        np.array([tensors[int(index)] for index in indices], np.int32)
        for indices in (graph.inputs, graph.outputs)
    )
    for one in graph.operators:
        one.inputs, one.outputs = (
            np.array([tensors.get(int(index), -1) for index in indices], np.int32)
            for indices in (one.inputs, one.outputs)
        )
    model.metadata = [one for one in model.metadata or () if one.name != METADATA_NAME] or None
    buffers = {
        old: new
        for new, old in enumerate(
            sorted(
                {0, *(one.buffer for one in graph.tensors)}
                | {one.buffer for one in model.metadata or ()}
            )
        )
    }
    model.buffers = [model.buffers[old] for old in buffers]
    for owner in (*graph.tensors, *(model.metadata or ())):
        owner.buffer = buffers[owner.buffer]
    codes = {one.opcodeIndex: 0 for one in graph.operators}
    codes = {old: new for new, old in enumerate(sorted(codes))}
    model.operatorCodes = [model.operatorCodes[old] for old in codes]
    for one in graph.operators:
        one.opcodeIndex = codes[one.opcodeIndex]


class FeatureReader(FeatureRunner):
    """The pooled features of images, by a backbone in the runtime."""

    def __init__(self, backbone: FeatureGraph, threads: int = 1) -> None:
        """Load the backbone, whose file has run in a child process before."""
        super().__init__(backbone, threads, runtime="litert")
        self._resize = backbone.resize
        self._scratch = np.empty((backbone.size, backbone.size, 3), np.uint8)

    def read(self, image: RgbImage) -> Stored:
        """Return the features, (F,) int8, of an image of any size, (H, W, 3) uint8 RGB."""
        prepare_into(self._scratch, image, self._resize)
        return self.read_prepared(self._scratch)

    def read_prepared(self, image: RgbImage) -> Stored:
        """Return the features, (F,) int8, of an image of the size of the input.

        Features that are no int8 are divided by their largest and rounded to steps of 1/127. Their
        length has no meaning here.
        """
        found = self.run(image)
        if found.dtype == np.int8:
            return np.array(found)
        values = found.astype(np.float64)
        largest = max(float(np.abs(values).max()), 1e-12)
        return np.asarray(np.rint(values * (127 / largest)), np.int8)
