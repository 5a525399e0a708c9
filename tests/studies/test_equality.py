"""The simulation and the file, value by value, in quantization steps."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.studies import equality
from lmedge.errors import DataError
from lmedge.export import convert
from lmedge.train.network import load_network
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
    rows = equality.compare_logits(exported.quantized, graph, images, folder="a")
    assert [row.head for row in rows] == ["landmark", "category"]
    for row in rows:
        assert row.agreement == 1.0
        assert row.equal >= 0.99
        assert row.values == len(images) * exported.quantized.output[row.head].shape[-1]
        assert row.equal <= row.within_1 <= row.within_2


def test_another_network_is_told(exported: Exported, graph: bytes, images: np.ndarray) -> None:
    rows = equality.compare_logits(exported.quantized, graph, 255 - images, folder="a")
    assert rows == equality.compare_logits(exported.quantized, graph, 255 - images, folder="a")
    float_rows = equality.compare_logits(load_network(exported.run), graph, images, folder="a")
    assert float_rows[0].equal < rows[0].equal


def test_both_forms_of_the_network_are_compared(
    exported: Exported, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, run = tmp_path / "out.csv", str(exported.run.folder)
    words = [run, str(photographs), "--set", "quantize.epochs=0", "--count", "5"]
    words += ["--out", str(out)]
    monkeypatch.setattr("sys.argv", ["equality.py", *words])
    done = CliRunner().invoke(equality.main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    command, machine, data, *lines = out.read_text("utf-8").splitlines()
    assert command.startswith("# command: python -m benchmarks.studies.equality RUN ")
    assert "--set quantize.epochs=0" in command
    assert machine.startswith("# machine: ")
    assert data == "# data: 5 images of photographs"
    rows = list(csv.DictReader(lines))
    assert list(rows[0]) == [field.name for field in dataclasses.fields(equality.Equality)]
    assert [(row["folder"], row["network"], row["head"], row["pictures"]) for row in rows] == [
        ("photographs", network, head, "5")
        for network in ("as answering", "as trained")
        for head in ("landmark", "category")
    ]


def test_a_folder_without_images_is_refused(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images there"):
        equality.read_some(tmp_path, 5, exported.run)
