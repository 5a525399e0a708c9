"""The graph of a .tflite: its input, its outputs by name, its operators and its memory.

A graph is refused before a runtime reads it unless the time and the memory of an image are the same
for every image. So operators are on a list, shapes are fixed, and no integer that could become a
size or a place depends on the image. docs/security.md lists what is refused.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Collection, Sequence
from typing import TypeVar

from .errors import ModelFileError
from .flatbuffer import DamagedError, Table
from .operators import ALLOWED, BYTES, DTYPES, WHOLE, operator_name
from .steps import GraphOperator, GraphTensor, OutputSteps, quantization

MOST_TENSORS = 16384
MOST_OPERATORS = 4096
MOST_BUFFERS = 2 * MOST_TENSORS
MOST_OPERANDS = 256  # of one operator
MOST_DIMENSIONS = 8
Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output of the graph.

    Attributes:
        name: Name in the signature.
        index: Tensor index in the runtime.
        shape: Its shape.
        dtype: Its NumPy name.
        step: The step of the integers that a float32 output was computed in; 0 if it was in floats.
        logit_step: The step of the int8 logits whose softmax a float32 output is, after the
            temperature; 0 if it is none of such logits.
        scale: Scale of an integer tensor; its value is (integer - zero_point) * scale. 0 if it has
            none, or one for each channel.
        zero_point: Zero point of an integer tensor.
    """

    name: str
    index: int
    shape: tuple[int, ...]
    dtype: str
    step: float = 0.0
    logit_step: float = 0.0
    scale: float = 0.0
    zero_point: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphFacts:
    """The checked facts of a graph.

    Attributes:
        image: The input.
        outputs: The outputs by name.
        operators: The number of operators by name and dtype of the first output.
        bytes_needed: Memory for an image: the tensors that live at the same time, and a copy of the
            constants as the runtime packs them.
    """

    image: TensorSpec
    outputs: dict[str, TensorSpec]
    operators: dict[tuple[str, str], int]
    bytes_needed: int


def read_graph(data: bytes, required: Collection[str], optional: str) -> GraphFacts:
    """Read and check the graph of a .tflite.

    Args:
        data: The bytes of a .tflite.
        required: Names of the outputs, by the file's signature.
        optional: Name of a further output that a file may have.

    Raises:
        ModelFileError: The graph has another shape, or is one that lmedge does not run.
        DamagedError: An offset or an index points outside the file.
    """
    model = Table.root(data)
    subgraphs = model.tables(2, 64)
    if len(subgraphs) != 1:
        raise ModelFileError(f"has {len(subgraphs)} subgraphs, one is expected")
    (graph,) = subgraphs
    image, outputs = _signature(model, graph, required, optional)
    tensors = _tensors(model, graph, image[1])
    operators = _operators(model, graph, tensors)
    _check_order(tensors, operators, image[1], list(outputs.values()))
    counts = collections.Counter(
        (one.name, tensors[one.outputs[0]].dtype if one.outputs else "none") for one in operators
    )
    steps = OutputSteps(tensors, operators, model.tables(4, MOST_BUFFERS))
    return GraphFacts(
        image=_spec(tensors, steps, *image),
        outputs={name: _spec(tensors, steps, name, index) for name, index in outputs.items()},
        operators=dict(counts),
        bytes_needed=_bytes_needed(tensors, operators, image[1]),
    )


def _signature(
    model: Table, graph: Table, required: Collection[str], optional: str
) -> tuple[tuple[str, int], dict[str, int]]:
    """Return name and tensor index of the input and of each output."""
    signatures = model.tables(7, 64)
    if len(signatures) != 1:
        raise ModelFileError(
            "has no signature that names its heads; export it with `lmedge export`"
        )
    inputs, outputs = (
        [(entry.string(0), entry.integer(1, 0, "I")) for entry in signatures[0].tables(field, 64)]
        for field in (0, 1)
    )
    names = sorted(name for name, _ in outputs)
    if {*names} - {optional} != {*required} or len({*names}) != len(names) or len(inputs) != 1:
        raise ModelFileError(f"its outputs are {names}, not {sorted(required)}")
    if sorted(index for _, index in outputs) != sorted(graph.integers(2, 64)):
        raise ModelFileError("its signature names tensors that are not the graph's outputs")
    if [inputs[0][1]] != list(graph.integers(1, 64)):
        raise ModelFileError("its signature names a tensor that is not the graph's input")
    return inputs[0], dict(outputs)


def _tensors(model: Table, graph: Table, image: int) -> list[GraphTensor]:
    sizes = []
    for buffer in model.tables(4, MOST_BUFFERS):
        if buffer.integer(1, 0, "Q") or buffer.integer(2, 0, "Q"):
            raise ModelFileError("keeps constants outside its graph; export it again")
        sizes.append(buffer.size(0))
    tables = graph.tables(0, MOST_TENSORS)
    batch = _inside(image, tables).integers(7, MOST_DIMENSIONS)[:1] == (-1,)
    return [_tensor(table, sizes, index, batch=batch) for index, table in enumerate(tables)]


def _tensor(table: Table, sizes: Sequence[int], index: int, *, batch: bool) -> GraphTensor:
    """Check one tensor. batch: whether the first dimension may be open in the file."""
    kind = table.integer(1, 0, "b")
    if kind not in DTYPES:
        raise ModelFileError(f"tensor {index} is of type {kind}, which no image classifier needs")
    shape, dtype = table.integers(0, MOST_DIMENSIONS), DTYPES[kind]
    signature = table.integers(7, MOST_DIMENSIONS) or shape
    if batch and signature[:1] == (-1,) and shape[:1] == (1,):
        signature = (1, *signature[1:])
    if signature != shape or any(side < 1 for side in shape):
        raise ModelFileError(f"tensor {index} has the shape {signature}, not a fixed one")
    if table.integer(5, 0, "b") or table.table(6) is not None:
        raise ModelFileError(f"tensor {index} keeps a state or is sparse; export it again")
    size = math.prod(shape) * BYTES[dtype]
    stored = _inside(table.integer(2, 0, "I"), sizes)
    if stored not in (0, size):
        raise DamagedError(f"tensor {index} takes {size} bytes, its buffer has {stored}")
    return GraphTensor(shape, dtype, size, stored > 0, table)


def _operators(model: Table, graph: Table, tensors: Sequence[GraphTensor]) -> list[GraphOperator]:
    names = [
        operator_name(max(code.integer(0, 0, "b"), code.integer(3)))
        for code in model.tables(1, MOST_OPERATORS)
    ]
    found = []
    for table in graph.tables(3, MOST_OPERATORS):
        name = _inside(table.integer(0, 0, "I"), names)
        if name not in ALLOWED:
            raise ModelFileError(f"its graph uses {name}, which lmedge does not run")
        inputs = table.integers(1, MOST_OPERANDS)
        outputs = table.integers(2, MOST_OPERANDS)
        for index in (*(index for index in inputs if index != -1), *outputs):
            _inside(index, tensors)
        found.append(GraphOperator(name, inputs, outputs))
    return found


def _check_order(
    tensors: Sequence[GraphTensor],
    operators: Sequence[GraphOperator],
    image: int,
    outputs: Sequence[int],
) -> None:
    """Check that each tensor is written once, before it is read, and no size by the image."""
    ready = {index for index, tensor in enumerate(tensors) if tensor.constant}
    if image in ready:
        raise ModelFileError("its input is a constant")
    ready.add(image)
    seen = {image}  # tensors whose numbers depend on the image
    for name, inputs, results in operators:
        if not ready.issuperset(index for index in inputs if index != -1):
            raise ModelFileError(f"its graph reads what nothing wrote, in {name}")
        if not ready.isdisjoint(results) or len({*results}) != len(results):
            raise ModelFileError(f"its graph writes a tensor twice, in {name}")
        ready.update(results)
        # The shape of a tensor is the same for every image, whatever its numbers.
        if name != "SHAPE" and not seen.isdisjoint(inputs):
            seen.update(results)
            whole = {tensors[index].dtype for index in results} & WHOLE
            if whole:
                raise ModelFileError(
                    f"its graph computes {whole.pop()} numbers from the image, in {name}; such "
                    "numbers choose sizes and places, and no image classifier needs them"
                )
    if not ready.issuperset(outputs) or image in outputs:
        raise ModelFileError("its graph has an output that nothing writes")


def _bytes_needed(
    tensors: Sequence[GraphTensor], operators: Sequence[GraphOperator], image: int
) -> int:
    """Return the most bytes of tensors that live at once, and of constants by their readers."""
    last = {index: place for place, one in enumerate(operators) for index in one.inputs}
    lasting = {index for index, tensor in enumerate(tensors) if tensor.constant}
    live = most = tensors[image].bytes
    packed = 0
    for place, (_, inputs, results) in enumerate(operators):
        constants = [index for index in inputs if index in lasting]
        packed += sum(tensors[index].bytes for index in constants)
        if len(constants) == len([index for index in inputs if index != -1]):
            lasting.update(results)  # float16 constants as float32: computed once and kept
            packed += sum(tensors[index].bytes for index in results)
            continue
        live += sum(tensors[index].bytes for index in results)
        most = max(most, live)
        ended = {index for index in (*inputs, *results) if last.get(index, place) == place}
        live -= sum(tensors[index].bytes for index in ended - lasting if index != -1)
    return most + packed


def _spec(tensors: Sequence[GraphTensor], steps: OutputSteps, name: str, index: int) -> TensorSpec:
    tensor = tensors[index]
    scale, zero_point = quantization(tensor.table)
    return TensorSpec(
        name=name,
        index=index,
        shape=tensor.shape,
        dtype=tensor.dtype,
        step=steps.of_integers(index),
        logit_step=steps.of_logits(index),
        scale=scale,
        zero_point=zero_point,
    )


def _inside(index: int, items: Sequence[Item]) -> Item:
    if not 0 <= index < len(items):
        raise DamagedError("an index points outside its list")
    return items[index]
