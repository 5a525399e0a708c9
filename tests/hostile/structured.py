"""Mutations that know the structure of a file: its graph, its archive, its metadata.

Each takes a good file and a generator of numbers, as those of corpus.py do.
"""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .files import Rng, joined, parts
from .graphs import CODES, Graph, edited

_FOREIGN = """
FILL BROADCAST_TO TILE RANGE WHERE ONE_HOT UNIQUE TOPK_V2 GATHER GATHER_ND FLOOR_DIV FLOOR_MOD
WHILE IF CALL CALL_ONCE CUSTOM LSTM RNN VAR_HANDLE READ_VARIABLE HASHTABLE RANDOM_UNIFORM
DYNAMIC_UPDATE_SLICE SPARSE_TO_DENSE EMBEDDING_LOOKUP STABLEHLO_WHILE STABLEHLO_COMPOSITE
"""
FOREIGN = _FOREIGN.split()
_KNOWN_ONES = """
ADD MUL SUB DIV RELU LOGISTIC MEAN SUM RESHAPE TRANSPOSE PAD SOFTMAX CONV_2D SQUEEZE SHAPE
STRIDED_SLICE RESIZE_BILINEAR CONCATENATION EXPAND_DIMS CAST DEQUANTIZE QUANTIZE SQRT RSQRT
"""
KNOWN_ONES = _KNOWN_ONES.split()
HUGE = (0, -1, 7, 1 << 10, 1 << 16, 1 << 20, (1 << 31) - 1)


def _pick(rng: Rng, choices: Sequence[Any]) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _graph(good: bytes, change: Callable[[Graph], object]) -> bytes:
    body, entries = parts(good)
    return joined(edited(body, change), entries)


def _recode(graph: Graph, rng: Rng, names: Sequence[str]) -> None:
    code = _pick(rng, graph.model.operatorCodes)
    code.builtinCode = CODES[_pick(rng, names)]
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)


def foreign_operator(good: bytes, rng: Rng) -> bytes:
    return _graph(good, lambda graph: _recode(graph, rng, FOREIGN))


def operators_exchanged(good: bytes, rng: Rng) -> bytes:
    """Operators of the list on tensors that do not fit them."""

    def change(graph: Graph) -> None:
        for _ in range(int(rng.integers(1, 3))):
            _recode(graph, rng, KNOWN_ONES)

    return _graph(good, change)


def size_by_image(good: bytes, rng: Rng) -> bytes:
    """A size or a place that the brightness of the image chooses."""

    def change(graph: Graph) -> None:
        big = graph.operator(
            "MUL",
            [graph.brightness(), graph.constant(float(_pick(rng, (1, 1e3, 1e5, 4e6))))],
            graph.tensor(()),
            schema.MulOptionsT(),
        )
        size = graph.cast(big, (1,), "int32")
        one = graph.constant([1.0])
        name = _pick(rng, ("FILL", "BROADCAST_TO", "TILE", "RESHAPE", "GATHER", "RANGE", "PAD"))
        if name == "FILL":
            inputs = [size, graph.constant(1.0)]
        elif name == "RANGE":
            inputs = [graph.constant(0, "int32"), size, graph.constant(1, "int32")]
        else:
            inputs = [one, size]
        wide = graph.operator(name, inputs, graph.tensor((1,)))
        if rng.random() < 0.5:
            graph.main.tensors[wide].shapeSignature = [-1]
        axes = graph.constant([0], "int32")
        graph.spread(
            graph.operator("SUM", [wide, axes], graph.tensor(()), schema.ReducerOptionsT())
        )

    return _graph(good, change)


def size_by_constant(good: bytes, rng: Rng) -> bytes:
    """Tensors that become large by a constant, with their shape or with one that is smaller."""

    def change(graph: Graph) -> None:
        side = int(_pick(rng, (64, 1 << 10, 1 << 14, 1 << 17)))
        shown = (side, side) if rng.random() < 0.5 else (1, 1)
        if rng.random() < 0.5:
            row = graph.constant(np.ones((1, side)))
            column = graph.constant(np.ones((side, 1)))
            near = graph.operator(
                "MUL", [graph.brightness(), row], graph.tensor((1, side)), schema.MulOptionsT()
            )
            wide = graph.operator("MUL", [near, column], graph.tensor(shown), schema.MulOptionsT())
        else:
            flat = graph.constant([1, 1], "int32")
            number = graph.operator(
                "RESHAPE",
                [graph.brightness(), flat],
                graph.tensor((1, 1)),
                schema.ReshapeOptionsT(),
            )
            sides = graph.constant([[0, side - 1], [0, side - 1]], "int32")
            wide = graph.operator("PAD", [number, sides], graph.tensor(shown), schema.PadOptionsT())
        axes = graph.constant([0, 1], "int32")
        graph.spread(
            graph.operator("MEAN", [wide, axes], graph.tensor(()), schema.ReducerOptionsT())
        )

    return _graph(good, change)


def shapes_of_tensors(good: bytes, rng: Rng) -> bytes:
    """Shapes, open shapes and types of tensors."""

    def change(graph: Graph) -> None:
        for _ in range(int(rng.integers(1, 3))):
            tensor = _pick(rng, graph.main.tensors)
            shape = [int(side) for side in ([] if tensor.shape is None else tensor.shape)]
            what = int(rng.integers(5))
            if what == 0 and shape:
                shape[int(rng.integers(len(shape)))] = int(_pick(rng, HUGE))
                tensor.shape = shape
            elif what == 1:
                tensor.shapeSignature = [-1] * max(1, len(shape))
            elif what == 2:
                tensor.type = int(_pick(rng, (0, 1, 2, 3, 4, 5, 6, 9, 13, 14, 17)))
            elif what == 3:
                tensor.shape = [1] * int(rng.integers(0, 12))
            else:
                tensor.isVariable = True

    return _graph(good, change)


def wiring(good: bytes, rng: Rng) -> bytes:
    """Operators in another order, tensors that nothing writes, or that are written twice."""

    def change(graph: Graph) -> None:
        what, operators = int(rng.integers(5)), graph.main.operators
        one = _pick(rng, operators)
        if what == 0:
            rng.shuffle(operators)
        elif what == 1:
            one.inputs = [int(rng.integers(-2, len(graph.main.tensors) + 2)) for _ in one.inputs]
        elif what == 2:
            one.outputs = [int(rng.integers(0, len(graph.main.tensors)))]
        elif what == 3:
            operators.extend([one] * int(_pick(rng, (1, 100, 5000))))
        else:
            operators.remove(one)

    return _graph(good, change)


def no_probabilities(good: bytes, rng: Rng) -> bytes:
    def change(graph: Graph) -> None:
        name = _pick(rng, ("landmark", "category"))
        count = int(graph.main.tensors[graph.output(name)].shape[1])
        factor = _pick(rng, (np.nan, np.inf, -np.inf, -1.0, 0.0, 0.5, 1.01, 2.0, 1e6, 1e38))
        factors = np.full(count, factor if rng.random() < 0.5 else 1.0)
        factors[int(rng.integers(count))] = factor
        graph.scale_output(name, factors.tolist())

    return _graph(good, change)


def overlapping_vectors(good: bytes, rng: Rng) -> bytes:
    """Vectors of the FlatBuffer that are made as long as the file allows, from where they stand."""
    body, entries = parts(good)
    changed = bytearray(body)
    lengths = [
        place
        for place in range(8, len(body) - 4, 4)
        if 0 < struct.unpack_from("<I", body, place)[0] < 64
    ]
    for _ in range(int(rng.integers(1, 4))):
        place = _pick(rng, lengths)
        most = (len(body) - place - 4) // int(_pick(rng, (1, 4, 4, 8)))
        struct.pack_into("<I", changed, place, max(0, most - int(rng.integers(0, 3))))
    return joined(bytes(changed), entries)


def one_table_many_times(good: bytes, rng: Rng) -> bytes:
    """Long lists whose entries are one object, with long lists of its own."""

    def change(graph: Graph) -> None:
        count = int(_pick(rng, (100, 5000, 30_000)))
        what = int(rng.integers(4))
        if what == 0:
            graph.main.tensors.extend([graph.main.tensors[-1]] * count)
        elif what == 1:
            graph.model.operatorCodes.extend([graph.model.operatorCodes[-1]] * count)
        elif what == 2:
            graph.model.buffers.extend([graph.model.buffers[-1]] * count)
        else:
            graph.main.operators[-1].inputs = [0] * count

    return _graph(good, change)


def other_archive(good: bytes, rng: Rng) -> bytes:
    """Compression, flags, sizes, places and names of the archive's two lists of entries."""
    body, entries = parts(good)
    if rng.random() < 0.4:
        name = _pick(rng, sorted(entries))
        method = _pick(rng, (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        stream = io.BytesIO(joined(body, {key: entries[key] for key in entries if key != name}))
        with warnings.catch_warnings(), zipfile.ZipFile(stream, "a") as archive:
            warnings.simplefilter("ignore")
            content = entries[name] if rng.random() < 0.5 else bytes(16 << 20)
            archive.writestr(zipfile.ZipInfo(name), content, method)
        return stream.getvalue()
    data = bytearray(joined(body, entries))
    mark, size = _pick(rng, ((b"PK\1\2", 46), (b"PK\3\4", 30), (b"PK\5\6", 22)))
    places = [at for at in range(len(body), len(data) - 3) if data[at : at + 4] == mark]
    at = _pick(rng, places)
    for _ in range(int(rng.integers(1, 3))):
        value = int(_pick(rng, (0, 1, 8, 12, 14, 0x7FFF, 0xFFFF)))
        struct.pack_into("<H", data, at + 2 * int(rng.integers(2, size // 2)), value)
    return bytes(data)


def odd_values(good: bytes, rng: Rng) -> bytes:
    """Numbers, text and depths that JSON allows and a file of ours never holds."""
    body, entries = parts(good)
    info = json.loads(entries["lmedge.json"])
    node: Any = info
    path: list[str] = []
    while isinstance(node, dict) and node and (not path or rng.random() < 0.7):
        path.append(_pick(rng, sorted(node)))
        node = node[path[-1]]
    mark = "\0here\0"
    inner = info
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = mark
    values = (
        "9" * 400,
        "9" * 5000,
        "-" + "9" * 20,
        "1e999",
        "0." + "3" * 3000,
        "NaN",
        "-Infinity",
        '"\\ud800"',
        '{"\\udc00": 1}',
        "[" * 40 + "]" * 40,
        "[" * 5000 + "]" * 5000,
        '{"a":' * 900 + "1" + "}" * 900,
        '"\\u0000"',
        "true",
        '"' + "9" * 400 + '"',
    )
    text = json.dumps(info).replace(json.dumps(mark), _pick(rng, values))
    return joined(body, {**entries, "lmedge.json": text.encode()}, signed=False)


def edited_labels(good: bytes, rng: Rng) -> bytes:
    """Labels, hierarchy or threshold changed with a zip tool; the checksums stay."""
    body, entries = parts(good)
    info = json.loads(entries["lmedge.json"])
    what = int(rng.integers(3))
    if what == 0:
        info["rejection"] = {"threshold": float(rng.random())}
    elif what == 1:
        info["decoding"] = {"category_weight": float(2 * rng.random())}
    else:
        landmark = _pick(rng, sorted(info["hierarchy"]))
        info["hierarchy"][landmark] = _pick(rng, sorted(set(info["hierarchy"].values())))
        info["preprocessing"]["resize"] = _pick(rng, ("squash", "pad"))
    return joined(
        body, {**entries, "lmedge.json": json.dumps(info, indent=1).encode()}, signed=False
    )


KINDS: dict[str, Callable[[bytes, Rng], bytes]] = {
    "an operator that is not on the list": foreign_operator,
    "operators on tensors that do not fit": operators_exchanged,
    "a size or a place by the image": size_by_image,
    "a size by a constant": size_by_constant,
    "shapes and types of tensors": shapes_of_tensors,
    "order and wiring of the graph": wiring,
    "outputs that are no probabilities": no_probabilities,
    "overlapping vectors": overlapping_vectors,
    "one table many times": one_table_many_times,
    "another archive": other_archive,
    "odd values in lmedge.json": odd_values,
    "labels or thresholds edited": edited_labels,
}
