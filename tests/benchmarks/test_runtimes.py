"""`lmedge benchmark --runtime`: several runtimes in one call, one of them perhaps elsewhere."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from lmedge.benchmarks.contestants import Runtime
from lmedge.benchmarks.several import BenchmarkComparison, ComparedFile
from lmedge.errors import LmedgeError
from tests import processes
from tests.in_process import lmedge
from tests.processes import assert_refused


def test_two_runtimes_take_turns_on_two_files(
    tiny_file: Path, photographs: Path, tmp_path: Path
) -> None:
    """LiteRT here, and LiteRT by the path of a Python: the other one may not be installed."""
    copy = Path(shutil.copy(tiny_file, tmp_path / "copy.tflite"))
    python = tmp_path / "other" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    process = lmedge(
        "benchmark",
        tiny_file,
        copy,
        "--runtime",
        f"litert,litert={python}",
        "--data",
        photographs,
        "--runs",
        12,
        "--out",
        tmp_path / "out",
    )
    assert process.returncode == 0, process.stderr
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert (report["runs"], report["pictures"]) == (12, 8)
    entries = report["entries"]
    assert [one["name"] for one in entries] == ["tiny.tflite"] * 2 + ["copy.tflite"] * 2
    for one in entries:
        assert one["runtime"].startswith("ai-edge-litert ")
        assert (one["macro_f1"], one["same_answer"]) == (1.0, 1.0)
        assert one["ratio"] == pytest.approx(one["p50_ms"] / entries[0]["p50_ms"])
    assert (tmp_path / "out" / "pareto.svg").stat().st_size > 2000


def test_one_runtime_of_this_environment_gives_the_whole_report(
    tiny_file: Path, tmp_path: Path
) -> None:
    words = ("--runtime", "litert", "--runs", 5, "--out", tmp_path / "out")
    process = lmedge("benchmark", tiny_file, *words)
    assert process.returncode == 0, process.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["environment"]["runtime"].startswith("ai-edge-litert ")


def test_a_runtime_that_is_missing_is_one_line(tiny_file: Path, tmp_path: Path) -> None:
    blocked = processes.without(tmp_path / "blocked", "tflite_runtime")
    for names in ("litert,tflite-runtime", "tflite-runtime"):
        process = processes.lmedge(
            "benchmark",
            tiny_file,
            "--runtime",
            names,
            "--runs",
            5,
            "--out",
            tmp_path / "out",
            **blocked,
        )
        assert_refused(process, 8, "tflite-runtime is not installed")
    assert not (tmp_path / "out").exists()
    process = processes.lmedge("benchmark", tiny_file, "--runtime", f"litert={tmp_path / 'absent'}")
    assert_refused(process, 8, "absent is no Python")


@pytest.mark.parametrize("names", ["onnx", "litert,", "litert=", ""])
def test_other_names_are_a_mistake_in_the_command(tiny_file: Path, names: str) -> None:
    process = lmedge("benchmark", tiny_file, "--runtime", names)
    assert process.returncode == 2
    assert "no runtime is called" in process.stderr


def test_names_and_paths_are_told_apart() -> None:
    assert Runtime.parse("litert, tflite-runtime=a b/python") == (
        Runtime(name="litert"),
        Runtime(name="tflite-runtime", python=Path("a b/python")),
    )
    with pytest.raises(LmedgeError, match="choose from litert, tflite-runtime"):
        Runtime.parse("litert,foo")


def test_a_line_is_named_by_what_differs() -> None:
    def entry(name: str, runtime: str) -> ComparedFile:
        return ComparedFile(
            name=name,
            runtime=runtime,
            bytes=1,
            p50_ms=1.0,
            p90_ms=1.0,
            ratio=1.0,
            ratio_interval=(1.0, 1.0),
        )

    def titles(*names: tuple[str, str]) -> list[str]:
        entries = tuple(entry(*one) for one in names)
        samples = np.ones((1, len(names)), np.int64)
        return BenchmarkComparison(
            machine="a board", runs=1, pictures=0, entries=entries, noisy=(), samples=samples
        ).titles()

    assert titles(("a", "x"), ("b", "x")) == ["a", "b"]
    assert titles(("a", "x"), ("a", "y")) == ["x", "y"]
    assert titles(("a", "x"), ("b", "y")) == ["a, x", "b, y"]
