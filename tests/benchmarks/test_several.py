"""Several files in one call."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.processes import assert_refused, lmedge


@pytest.fixture
def copy(tiny_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny_file, tmp_path / "copy.tflite"))


def test_the_same_file_twice_is_the_same(
    tiny_file: Path, copy: Path, photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("--data", photographs, "--runs", 60, "--out", out)
    process = lmedge("benchmark", tiny_file, copy, *words, COLUMNS="80")
    assert process.returncode == 0, process.stderr
    assert "100.0%" in process.stdout
    assert "..." not in process.stdout.replace("…", "...")
    report = json.loads((out / "comparison.json").read_text())
    assert (report["runs"], report["pictures"]) == (60, 8)
    first, second = report["entries"]
    assert (first["ratio"], first["difference"]) == (1.0, 0.0)
    assert second["name"] == "copy.tflite"
    assert second["macro_f1"] == 1.0
    assert second["difference_interval"] == [0.0, 0.0]
    low, high = second["ratio_interval"]
    assert low <= second["ratio"] <= high
    assert second["ratio"] == pytest.approx(second["p50_ms"] / first["p50_ms"])
    assert (out / "pareto.png").stat().st_size > 2000


def test_without_pictures_speed_alone(tiny_file: Path, copy: Path, tmp_path: Path) -> None:
    process = lmedge("benchmark", tiny_file, copy, "--runs", 5, "--out", tmp_path / "out")
    assert process.returncode == 0, process.stderr
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert report["entries"][1]["macro_f1"] is None
    assert not (tmp_path / "out" / "pareto.png").exists()


def test_a_bad_one_among_them(tiny_file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"nothing")
    process = lmedge("benchmark", tiny_file, bad, "--out", tmp_path / "out")
    assert_refused(process, 4, "bad.tflite")
