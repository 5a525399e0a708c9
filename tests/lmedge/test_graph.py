"""Graphs that are refused before a runtime reads them, and those that are not."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from lmedge.errors import ModelFileError
from lmedge.flatbuffer import DamagedError, Table
from lmedge.graph import MOST_DIMENSIONS, MOST_OPERATORS, MOST_TENSORS, read_graph
from lmedge.model_file import HEADS, KNOWN
from lmedge.operators import ALLOWED, NAMES
from tests import tiny_file as tiny
from tests.hostile.graphs import CODES, Graph, edited

REFUSED = (
    "CUSTOM WHILE IF CALL_ONCE CALL FILL BROADCAST_TO TILE RANGE WHERE ONE_HOT UNIQUE TOPK_V2 "
    "GATHER GATHER_ND FLOOR_DIV FLOOR_MOD LSTM RNN SVDF VAR_HANDLE READ_VARIABLE HASHTABLE "
    "RANDOM_UNIFORM MULTINOMIAL DYNAMIC_UPDATE_SLICE SPARSE_TO_DENSE NON_MAX_SUPPRESSION_V5 "
    "EMBEDDING_LOOKUP STABLEHLO_WHILE STABLEHLO_CUSTOM_CALL STABLEHLO_COMPOSITE DELEGATE"
)


def read(body: bytes) -> None:
    read_graph(body, HEADS, KNOWN)


def test_names_are_those_of_the_runtime() -> None:
    assert {name: code for code, name in enumerate(NAMES)} == {
        name: code for name, code in CODES.items() if code < len(NAMES)
    }
    assert set(NAMES) > ALLOWED
    assert not ALLOWED & set(REFUSED.split())


@pytest.mark.parametrize("name", REFUSED.split())
def test_other_operators_are_refused_by_name(name: str) -> None:
    def change(graph: Graph) -> None:
        graph.model.operatorCodes[-1].builtinCode = CODES[name]
        graph.model.operatorCodes[-1].deprecatedBuiltinCode = min(CODES[name], 127)

    shown = name if name in NAMES else f"OPERATOR_{CODES[name]}"
    with pytest.raises(ModelFileError, match=f"uses {shown}, which lmedge does not run"):
        read(edited(tiny.graph(), change))


def _faults() -> dict[str, tuple[str, Callable[[Graph], object]]]:
    def integers(graph: Graph) -> None:
        graph.cast(graph.brightness(), (), "int32")

    def computed_size(graph: Graph) -> None:
        size = graph.cast(graph.brightness(), (1,), "int32")
        graph.operator("RESHAPE", [graph.image, size], graph.tensor((3072,), "uint8"))

    def dynamic(graph: Graph) -> None:
        graph.main.tensors[-1].shapeSignature = [-1] * len(graph.main.tensors[-1].shape)

    def empty(graph: Graph) -> None:
        graph.main.tensors[-1].shape = [1, 0]

    def negative(graph: Graph) -> None:
        graph.main.tensors[-1].shape = [1, -4]

    def text(graph: Graph) -> None:
        graph.main.tensors[-1].type = schema.TensorType.STRING

    def variable(graph: Graph) -> None:
        graph.main.tensors[-1].isVariable = True

    def sparse(graph: Graph) -> None:
        graph.main.tensors[-1].sparsity = schema.SparsityParametersT()

    def outside(graph: Graph) -> None:
        graph.model.buffers[-1].offset, graph.model.buffers[-1].size = 4096, 1 << 40

    def backwards(graph: Graph) -> None:
        graph.main.operators.reverse()

    def unwritten(graph: Graph) -> None:
        graph.cast(graph.tensor((1,)), (1,), "uint8")

    def twice(graph: Graph) -> None:
        graph.main.operators.append(graph.main.operators[-1])

    def itself(graph: Graph) -> None:
        one = graph.tensor((1,))
        graph.operator("RELU", [one], one)

    def constant_written(graph: Graph) -> None:
        graph.operator("RELU", [graph.image], graph.constant([1.0]))

    def image_as_output(graph: Graph) -> None:
        (signature,) = graph.model.signatureDefs
        signature.outputs[0].tensorIndex = graph.image
        graph.main.outputs = [entry.tensorIndex for entry in signature.outputs]

    def second_input(graph: Graph) -> None:
        graph.main.inputs = [graph.image, graph.tensor((1,))]

    def subgraphs(graph: Graph) -> None:
        graph.model.subgraphs.append(graph.main)

    def short_constant(graph: Graph) -> None:
        index = graph.constant([1.0, 2.0])
        graph.main.tensors[index].shape = [3]

    def no_buffer(graph: Graph) -> None:
        graph.main.tensors[-1].buffer = 10**6

    return {
        "integers": ("computes int32 numbers from the image, in CAST", integers),
        "computed size": ("computes int32 numbers from the image, in CAST", computed_size),
        "dynamic": ("has the shape .*, not a fixed one", dynamic),
        "empty": (r"has the shape \(1, 0\), not a fixed one", empty),
        "negative": (r"has the shape \(1, -4\), not a fixed one", negative),
        "text": ("of type 5, which no image classifier needs", text),
        "variable": ("keeps a state or is sparse", variable),
        "sparse": ("keeps a state or is sparse", sparse),
        "outside": ("keeps constants outside", outside),
        "backwards": ("reads what nothing wrote", backwards),
        "unwritten": ("reads what nothing wrote, in CAST", unwritten),
        "twice": ("writes a tensor twice", twice),
        "itself": ("reads what nothing wrote, in RELU", itself),
        "constant written": ("writes a tensor twice, in RELU", constant_written),
        "image as output": ("an output that nothing writes", image_as_output),
        "second input": ("not the graph's input", second_input),
        "subgraphs": ("has 2 subgraphs", subgraphs),
        "short constant": ("takes 12 bytes, its buffer has 8", short_constant),
        "no buffer": ("an index points outside its list", no_buffer),
    }


@pytest.mark.parametrize("name", _faults())
def test_graphs_that_are_no_classifiers_are_refused(name: str) -> None:
    message, change = _faults()[name]
    with pytest.raises((ModelFileError, DamagedError), match=message):
        read(edited(tiny.graph(known=True), change))


def test_an_open_batch_is_no_open_shape() -> None:
    """Converters leave the number of images of a plain network open; it is run with one."""

    def change(graph: Graph) -> None:
        for tensor in graph.main.tensors:
            if len(tensor.shape) > 1 and tensor.shape[0] == 1:
                tensor.shapeSignature = [-1, *tensor.shape[1:]]

    read(edited(tiny.graph(), change))


def test_a_size_may_come_from_a_shape() -> None:
    def change(graph: Graph) -> None:
        shape = graph.operator("SHAPE", [graph.image], graph.tensor((4,), "int32"))
        graph.operator("RESHAPE", [graph.image, shape], graph.tensor((1, 32, 32, 3), "uint8"))

    read(edited(tiny.graph(), change))


def test_memory_is_that_of_tensors_that_live_together() -> None:
    def change(graph: Graph) -> None:
        last = graph.brightness()
        for _ in range(100):
            wide = graph.tensor((1000, 1000))
            last = graph.operator("MUL", [last, graph.constant(1.0)], wide, schema.MulOptionsT())

    plain = read_graph(tiny.graph(), HEADS, KNOWN).bytes_needed
    deep = read_graph(edited(tiny.graph(), change), HEADS, KNOWN).bytes_needed
    assert 7.9e6 < deep - plain < 8.1e6  # two of the hundred


class TestOverlap:
    @staticmethod
    def overlapping(count: int) -> bytes:
        """A vector of `count` tables that are one, whose vector is all the rest of the buffer.

        Read entry by entry, it takes time that grows with the square of its size.
        """
        places = struct.pack(f"<I{count}I", count, *[0] * count)
        head = struct.pack("<I4sHHHHi", 16, b"TFL3", 6, 12, 4, 0, 8)
        field = len(head) + 4
        data = bytearray(head + struct.pack("<I", 4) + places)
        table = field + 4
        for place in range(count):
            at = table + 4 * place
            struct.pack_into("<I", data, at, (16 - at) & 0xFFFFFFFF)
        return bytes(data)

    def test_time_is_linear(self) -> None:
        data = self.overlapping(50_000)
        began = time.monotonic()
        with pytest.raises(DamagedError):
            for table in Table.root(data).tables(0, 1 << 20):
                table.integers(0, 1 << 20)
        assert time.monotonic() - began < 2

    def test_nothing_is_read_more_than_twice(self) -> None:
        graph = Graph(tiny.graph())
        names = [graph.constant(np.zeros(5000)) for _ in range(3)]
        assert names
        data = graph.packed()
        root = Table.root(data)
        with pytest.raises(DamagedError, match="its tables overlap"):
            for _ in range(4):
                for buffer in root.tables(4):
                    buffer.bytes(0)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda graph: [graph.tensor((1,)) for _ in range(MOST_TENSORS)], "16384 at most"),
            (
                lambda graph: graph.main.operators.extend(
                    [graph.main.operators[-1]] * MOST_OPERATORS
                ),
                "4096 at most",
            ),
            (lambda graph: graph.tensor((1,) * (MOST_DIMENSIONS + 1)), "8 at most"),
        ],
    )
    def test_counts_are_bounded(self, change: Callable[[Graph], object], message: str) -> None:
        with pytest.raises(DamagedError, match=message):
            read(edited(tiny.graph(), change))


def test_the_readers_meet_every_good_file(tiny_file: Path) -> None:
    found = read_graph(tiny_file.read_bytes(), HEADS, KNOWN)
    assert found.image.shape == (1, 32, 32, 3)
    assert found.outputs["landmark"].step == pytest.approx(1 / 256)
    assert 0 < found.bytes_needed < 1 << 20
