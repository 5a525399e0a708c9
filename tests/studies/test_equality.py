"""The simulation and the file, value by value, in quantization steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies import equality
from lmedge.errors import DataError
from lmedge.export import convert
from tests.export.conftest import Exported


@pytest.fixture(scope="module")
def graph(exported: Exported) -> bytes:
    return convert.to_int8_logits(exported.quantized)


@pytest.fixture(scope="module")
def images(exported: Exported) -> np.ndarray:
    return np.stack(list(exported.run.images("val")))


def test_the_file_computes_what_was_simulated(
    exported: Exported, graph: bytes, images: np.ndarray
) -> None:
    rows = equality.compare(exported.quantized, graph, images)
    assert [row["head"] for row in rows] == ["landmark", "category"]
    for row in rows:
        assert row["agreement"] == 1.0
        assert row["equal"] >= 0.99
        assert row["values"] == len(images) * exported.quantized.output[row["head"]].shape[-1]
        assert row["equal"] <= row["within_1"] <= row["within_2"]


def test_another_network_is_told(exported: Exported, graph: bytes, images: np.ndarray) -> None:
    rows = equality.compare(exported.quantized, graph, 255 - images)
    assert rows == equality.compare(exported.quantized, graph, 255 - images)
    float_rows = equality.compare(exported.run.network(), graph, images)
    assert float_rows[0]["equal"] < rows[0]["equal"]


def test_the_table_names_the_command(exported: Exported, graph: bytes, images: np.ndarray) -> None:
    rows = equality.compare(exported.quantized, graph, images, as_trained=True)
    named = [{"folder": "a", "network": "as trained", **row} for row in rows]
    command, machine, columns, *lines = equality.table(named, ["a", "--set", "x=1"]).splitlines()
    assert command == "# command: python -m benchmarks.studies.equality RUN a --set x=1"
    assert machine.startswith("# machine: ")
    assert columns.split(",") == list(equality.COLUMNS)
    assert [line.split(",")[:4] for line in lines] == [
        ["a", "as trained", head, str(len(images))] for head in ("landmark", "category")
    ]


def test_a_folder_without_images_is_refused(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        equality.read_some(tmp_path, 5, exported.run)
