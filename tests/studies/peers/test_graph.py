"""The graph of a float32 file, as build_onnx.py gets it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies.peers.graph import read_graph, write_graph
from lmedge.errors import ModelFileError
from lmedge.model_file import read_model


def test_every_operation_with_its_options(float_file: Path, tmp_path: Path) -> None:
    model = read_model(float_file)
    graph, constants = read_graph(model)
    nodes = graph["nodes"]
    assert model.known is not None
    left_out = {name for name, _ in model.operators} - {node["op"] for node in nodes}
    assert "RSQRT" in left_out or "OPERATOR_76" in left_out  # of the third output
    assert not left_out & {"CONV_2D", "DEPTHWISE_CONV_2D", "SOFTMAX", "CAST", "SUB", "MAX_POOL_2D"}
    assert sorted(graph["heads"]) == ["category", "landmark"]
    first = next(node for node in nodes if node["op"] == "CONV_2D")
    assert (first["stride"], first["padding"], first["activation"]) == ([2, 2], "SAME", None)
    assert "Relu6" in [node.get("activation") for node in nodes if node["op"] == "CONV_2D"]
    pool = next(node for node in nodes if node["op"] == "MAX_POOL_2D")
    assert (pool["window"], pool["stride"]) == ([3, 3], [2, 2])
    assert [node["keep"] for node in nodes if node["op"] == "MEAN"] == [True, False]
    assert next(node["axis"] for node in nodes if node["op"] == "CONCATENATION") == 1
    kernel = constants[first["inputs"][1]]
    assert (kernel.shape, kernel.dtype) == ((8, 3, 3, 3), np.float32)

    write_graph(model, tmp_path)
    assert json.loads((tmp_path / "graph.json").read_text()) == graph
    with np.load(tmp_path / "constants.npz") as stored:
        assert {int(name) for name in stored.files} == set(constants)
        assert np.array_equal(stored[str(first["inputs"][1])], kernel)


def test_an_int8_file_is_not_built(tiny_file: Path) -> None:
    with pytest.raises(ModelFileError, match="float32"):
        read_graph(read_model(tiny_file))
