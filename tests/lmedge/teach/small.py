"""A base with 48 features and photographs that they tell apart, made without TensorFlow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from lmedge.field.origin import COLUMNS
from lmedge.image import Resize
from lmedge.metadata import Card, pack
from lmedge.taxonomy import Taxonomy
from lmedge.teach.backbone import FeatureGraph, packed
from lmedge.teach.base import Base
from lmedge.teach.features import feature_set
from lmedge.teach.fitting import teach_heads
from lmedge.teach.heads import with_heads
from lmedge.teach.photographs import read_photographs
from lmedge.teach.teaching import Lesson, teach_file

SIZE, WIDTH, STEP = 32, 48, 8
STEPS = 0.02  # of the int8 features
HIERARCHY = {"old bridge": "bridges", "stone bridge": "bridges", "tower": "towers"}
MORE = {"Große Brücke": "bridges", "white gate": "gates"}


def draw(landmark: str, number: int) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB: the pattern of a landmark under clouds of each photograph."""
    own = np.random.default_rng([ord(letter) for letter in landmark])
    clouds = np.random.default_rng([number, len(landmark), ord(landmark[0])])
    parts = own.normal(0, 46, (8, 8, 3)) + clouds.normal(0, 30, (8, 8, 3)) + 128
    whole = cv2.resize(parts.astype(np.float32), (64, 64), interpolation=cv2.INTER_NEAREST)
    return np.clip(whole, 0, 255).astype(np.uint8)


def write_photographs(
    folder: Path, hierarchy: dict[str, str], numbers: Iterable[int] = range(6)
) -> Path:
    """Write photographs of each landmark, in <category>/<landmark>/."""
    for landmark, category in hierarchy.items():
        for number in numbers:
            save(folder / category / landmark / f"{number}.png", draw(landmark, number))
    return folder


def write_bursts(folder: Path, hierarchy: dict[str, str], frames: int = 6) -> Path:
    """Write photographs of each landmark that are nearly the same, in <category>/<landmark>/."""
    for landmark, category in hierarchy.items():
        image = draw(landmark, 0).astype(np.int16)
        for number in range(frames):
            frame = np.clip(image + number, 0, 255)
            save(folder / category / landmark / f"{number}.png", frame)
    return folder


def save(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) RGB of 0..255 as a PNG; its folder is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.ascontiguousarray(image[..., ::-1].astype(np.uint8))
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def origin_row(path: Path, data: Path, burst: str) -> dict[str, str]:
    """Return a row of origin.csv for a photograph below `data`."""
    about = {
        "path": path.relative_to(data).as_posix(),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "burst": burst,
    }
    return {**dict.fromkeys(COLUMNS, ""), **about}


def write_base(path: Path, kind: str = "int8") -> Path:
    """Write an ordinary file of two landmarks, which remembers nothing.

    kind: Of its features: int8, int16 or float32.
    """
    graph = _graph(kind)
    backbone = FeatureGraph.of_graph(graph, Resize.SQUASH)
    rng = np.random.default_rng(0)
    rows = rng.integers(-90, 90, (8, WIDTH)).astype(np.int8)
    found = feature_set(
        {"left": "both", "right": "both"},
        {"left": rows[:4], "right": rows[4:]},
        [],
        zero=0,
        width=WIDTH,
    )
    heads = teach_heads(found).heads
    card = Card(
        name=path.stem,
        description="two landmarks of noise",
        version="0.1.0",
        taxonomy=Taxonomy.from_pairs([("both", "left"), ("both", "right")]),
        size=SIZE,
        info={"format": "int8", "preprocessing": {"size": SIZE, "resize": "squash"}},
    )
    path.write_bytes(pack(with_heads(backbone.data, heads), card))
    return path


def _graph(kind: str) -> bytes:
    """Return image -> CAST -> CONV_2D -> MEAN: 48 features of 16 patches each.

    They are quantized before the mean if they are int8, behind it if they are int16.
    """
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], []
    model.buffers = [schema.BufferT()]
    graph.tensors, graph.operators = [], []
    kernel = np.random.default_rng(1).normal(0, 1, (WIDTH, STEP, STEP, 3)).astype(np.float32)
    kernel -= kernel.mean(axis=(1, 2), keepdims=True)
    side = SIZE // STEP
    image = _tensor(model, "image", (1, SIZE, SIZE, 3), schema.TensorType.UINT8)
    pixels = _tensor(model, "pixels", (1, SIZE, SIZE, 3), schema.TensorType.FLOAT32)
    _operator(model, schema.BuiltinOperator.CAST, [image], [pixels])
    weights = _tensor(model, "kernel", kernel.shape, schema.TensorType.FLOAT32, kernel / 2000)
    bias = _tensor(model, "bias", (WIDTH,), schema.TensorType.FLOAT32, np.zeros(WIDTH, np.float32))
    shape = (1, side, side, WIDTH)
    parts = _tensor(model, "parts", shape, schema.TensorType.FLOAT32)
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = STEP
    options.padding = schema.Padding.VALID
    options.dilationWFactor = options.dilationHFactor = 1
    convolution = schema.BuiltinOperator.CONV_2D
    made = _operator(model, convolution, [pixels, weights, bias], [parts])
    made.builtinOptions = options
    made.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
    whole = parts
    if kind == "int8":
        whole = _tensor(model, "whole", shape, schema.TensorType.INT8, steps=STEPS)
        _operator(model, schema.BuiltinOperator.QUANTIZE, [parts], [whole])
    axes = _tensor(model, "axes", (2,), schema.TensorType.INT32, np.array([1, 2], np.int32))
    number = schema.TensorType.INT8 if kind == "int8" else schema.TensorType.FLOAT32
    steps = STEPS / 4 if kind == "int8" else 0
    features = _tensor(model, "mean", (1, WIDTH), number, steps=steps)
    made = _operator(model, schema.BuiltinOperator.MEAN, [whole, axes], [features])
    made.builtinOptions = schema.ReducerOptionsT()
    made.builtinOptionsType = schema.BuiltinOptions.ReducerOptions
    if kind == "int16":
        mean = features
        features = _tensor(model, "fine", (1, WIDTH), schema.TensorType.INT16, steps=STEPS / 1000)
        _operator(model, schema.BuiltinOperator.QUANTIZE, [mean], [features])
    graph.inputs, graph.outputs = np.array([image], np.int32), np.array([features], np.int32)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs, signature.outputs = [schema.TensorMapT()], [schema.TensorMapT()]
    signature.inputs[0].name, signature.inputs[0].tensorIndex = b"image", image
    signature.outputs[0].name, signature.outputs[0].tensorIndex = b"features", features
    model.signatureDefs = [signature]
    return packed(model)


def _tensor(
    model: Any,
    name: str,
    shape: tuple[int, ...],
    kind: int,
    values: np.ndarray | None = None,
    steps: float = 0.0,
) -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name.encode(), np.array(shape, np.int32), kind
    tensor.buffer = 0
    if values is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    if steps:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.array([steps], np.float32)
        tensor.quantization.zeroPoint = np.array([0], np.int64)
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def _operator(model: Any, number: int, inputs: list[int], outputs: list[int]) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = number
    code.version = 1
    model.operatorCodes.append(code)
    made = schema.OperatorT()
    made.opcodeIndex = len(model.operatorCodes) - 1
    made.inputs, made.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
    model.subgraphs[0].operators.append(made)
    return made


def write_taught(folder: Path, kind: str = "int8") -> Path:
    """Teach a base the landmarks of HIERARCHY; return `taught.tflite` in a folder.

    kind: Of its features, as for `write_base`.
    """
    opened = Base.open(write_base(folder / "base.tflite", kind))
    write_photographs(folder / "photographs", HIERARCHY)
    read = read_photographs(folder / "photographs", opened.backbone)
    path = folder / "taught.tflite"
    path.write_bytes(teach_file(opened, read, Lesson(), path).file.data)
    return path
