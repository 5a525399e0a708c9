"""The way of an image into the graph, and of probabilities out of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from lmedge.errors import ModelFileError
from lmedge.image import Resize
from lmedge.interpreter import Interpreter
from lmedge.model_file import bare_model, read_model
from lmedge.runner import GraphRunner, Outputs
from tests import tiny_file as tiny
from tests.hostile.graphs import Graph, edited
from tests.in_process import lmedge


def test_a_image_is_copied_or_written_in_place(tiny_file: Path) -> None:
    interpreter = Interpreter(read_model(tiny_file))
    for name in tiny.COLOURS:
        image = tiny.image(name, 32, 32)
        copied = interpreter.run(image)
        written = interpreter.run(lambda out, shown=image: np.copyto(out, shown))
        assert written.landmark.tobytes() == copied.landmark.tobytes()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((32, 32, 1), np.uint8),  # would fit if it were repeated
        np.zeros((3,), np.uint8),
        np.zeros((16, 32, 3), np.uint8),
        np.zeros((32, 32, 3), np.float32),
    ],
)
def test_another_shape_or_dtype_is_refused(tiny_file: Path, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Cannot set tensor"):
        Interpreter(read_model(tiny_file)).set_image(image)


class Stopping:
    """A runtime that refuses its second image."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.count = inner, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def invoke(self) -> None:
        self.count += 1
        if self.count > 1:
            raise RuntimeError("gather index out of bounds\x1b[2J\nNode number 3 failed")
        self.inner.invoke()


def test_a_runtime_that_stops_is_one_error(tiny_file: Path) -> None:
    runner = GraphRunner(read_model(tiny_file))
    runner._runner = Stopping(runner._runner)
    image = tiny.image("blue", 32, 32)
    runner.run(image)
    with pytest.raises(ModelFileError) as raised:
        runner.run(image)
    assert str(raised.value).endswith(
        "tiny.tflite: the runtime stopped in the middle of an image (gather index out of "
        "bounds[2J); export it again"
    )


@pytest.mark.parametrize("command", ["predict", "camera"])
def test_no_command_ends_in_a_traceback_when_the_runtime_stops(
    tiny_file: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    load = GraphRunner.__init__

    def loaded(self: GraphRunner, *args: Any, **options: Any) -> None:
        load(self, *args, **options)
        self._runner = Stopping(self._runner)

    monkeypatch.setattr(GraphRunner, "__init__", loaded)
    monkeypatch.setattr("lmedge.interpreter.survive", lambda *_: None)
    words = ["--headless", "--jsonl", "-", "--source"] if command == "camera" else []
    done = lmedge(command, tiny_file, "--threads", "1", *words, photographs)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("lmedge: ")]
    assert done.returncode == 4 and "the runtime stopped in the middle of an image" in line
    assert "Traceback" not in done.stderr


class TestProbabilities:
    @staticmethod
    def outputs(change: Callable[[Graph], object], *, known: bool = False) -> Outputs:
        file = tiny.graph(known=known)
        graph = edited(file, change)
        found = bare_model(
            graph, Path("a.tflite"), tiny.TAXONOMY, Resize.CROP, {"landmark": 1, "category": 1}
        )
        return GraphRunner(found).run(tiny.image("blue", 32, 32))

    @pytest.mark.parametrize(
        "factors",
        [
            [np.nan] * 4,
            [1, 1, 1, np.nan],
            [np.inf] * 4,
            [-np.inf, 1, 1, 1],
            [-1] * 4,
            [1, -1, 1, 1],
            [1e6] * 4,
            [1e38] * 4,
            [0.5] * 4,
            [0] * 4,
            [1.01] * 4,
            [2, -1, 1, 1],
        ],
        ids=str,
    )
    def test_what_are_none_is_one_error(self, factors: list[float]) -> None:
        message = (
            r"^a\.tflite: its landmark output holds no probabilities \([^\n]*\); export it again$"
        )
        with pytest.raises(ModelFileError, match=message):
            self.outputs(lambda graph: graph.scale_output("landmark", factors))

    @pytest.mark.parametrize("factors", [[np.nan, 1], [9, 1], [-9, 1], [1, 5], [np.inf, -np.inf]])
    def test_of_the_third_output_too(self, factors: list[float]) -> None:
        with pytest.raises(ModelFileError, match="its known output holds no probabilities"):
            self.outputs(lambda graph: graph.scale_output("known", factors), known=True)

    def test_a_step_that_the_file_names_makes_no_room(self, tiny_file: Path) -> None:
        """Probabilities of integers may miss a sum of one by half a step each, no more."""

        model = read_model(tiny_file)
        wide = dataclasses.replace(model.heads["landmark"], step=9.0)
        runner = GraphRunner(dataclasses.replace(model, heads={**model.heads, "landmark": wide}))
        runner._probabilities(wide, np.array([0.5, 0.5, 0, 0.005], np.float32))
        with pytest.raises(ModelFileError, match="its landmark output holds no probabilities"):
            runner._probabilities(wide, np.array([0.5, 0.5, 0, 0.1], np.float32))

    @pytest.mark.parametrize("name", ["landmark", "known"])
    def test_an_output_of_another_shape_than_its_file_names(self, name: str) -> None:
        """A mutation of the graph made one: a traceback behind the trial."""

        def shorter(graph: Graph) -> None:
            old = graph.output(name)
            both = graph.constant([0, 1], "int32")
            length = graph.constant([1, 1], "int32")
            new = graph.operator(
                "SLICE", [old, both, length], graph.tensor((1, 4 if name == "landmark" else 2))
            )
            (signature,) = graph.model.signatureDefs
            for entry in signature.outputs:
                entry.tensorIndex = new if entry.tensorIndex == old else entry.tensorIndex
            graph.main.outputs = [new if one == old else one for one in graph.main.outputs]

        with pytest.raises(ModelFileError, match=rf"its {name} output comes as \(1, 1\)"):
            self.outputs(shorter, known=True)

    def test_a_cosine_that_was_rounded_stays_a_probability(self) -> None:
        def over(graph: Graph) -> None:
            (signature,) = graph.model.signatureDefs
            (entry,) = (one for one in signature.outputs if one.name.decode() == "known")
            shift = graph.constant([[0.2, -0.2]])
            old = entry.tensorIndex
            new = graph.operator("ADD", [old, shift], graph.tensor((1, 2)), schema.AddOptionsT())
            entry.tensorIndex = new
            graph.main.outputs = [new if one == old else one for one in graph.main.outputs]

        plain = self.outputs(lambda _: None, known=True)
        assert plain.known is not None and 0.8 < plain.known[0] < 1
        assert self.outputs(over, known=True).known == pytest.approx([1.0, 0.0])
