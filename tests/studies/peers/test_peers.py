"""The real peers, in their environments, on a small network; and the clients of one file."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies.peers.environments import ENVIRONMENTS
from tests import small_run
from tests.locations import ROOT

# Kept between runs, as the script does: together they are a gigabyte to fetch.
FOLDER = Path(os.environ.get("LMEDGE_PEERS") or ROOT / ENVIRONMENTS)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="tflite-runtime needs Python 3.11"),
    pytest.mark.timeout(1800),
]


def run(module: str, *words: object) -> list[dict[str, str]]:
    out = Path(str(words[-1]))
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            f"benchmarks.studies.{module}",
            *map(str, words[:-1]),
            "--environments",
            str(FOLDER),
            "--out",
            str(out),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert "left out" not in process.stderr
    lines = out.read_text("utf-8").splitlines()
    assert lines[0].startswith(f"# command: python -m benchmarks.studies.{module} ")
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def test_every_peer_runs_the_same_network(float_file: Path, tmp_path: Path) -> None:
    noise = tmp_path / "noise"  # alike enough for a calibration on four of them
    for number in range(8):
        small_run.save(
            noise / f"{number}.png",
            np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8),
        )
    rows = run(
        "peers",
        float_file,
        float_file,
        "--data",
        noise,
        "--images",
        4,
        "--rounds",
        5,
        tmp_path / "peers.csv",
    )
    assert [row["runtime"].split()[0] for row in rows] == [
        "ai-edge-litert",
        "ai-edge-litert",
        "onnxruntime",
        "onnxruntime",
        "openvino",
        "openvino",
        "openvino",
        "tflite-runtime",
        "tflite-runtime",
        *["ai-edge-litert", "mediapipe"] * 3,
    ]
    for row in rows:
        assert float(row["ratio_low"]) <= float(row["ratio"]) <= float(row["ratio_high"])
        # OpenVINO takes bfloat16 where the processor has it; onnxruntime's int8 is its own
        limit = 0.2 if "int8" in row["name"] or "default" in row["name"] else 1e-5
        limit = 1.0 if "JPEG" in row["name"] else limit  # noise is what JPEG changes most
        assert float(row["largest_difference"]) < limit, row
    assert {row["against"] for row in rows} == {
        "LiteRT int8",
        "lmedge Classifier",
        "lmedge Classifier, small JPEG",
        "lmedge Classifier, large JPEG",
    }


def test_every_client_says_the_same(tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
    rows = run("clients", tiny_file, "--data", photographs, tmp_path / "clients.csv")
    assert [row["runtime"].split()[0] for row in rows] == [
        "ai-edge-litert",
        "ai-edge-litert",
        "mediapipe",
        "tflite-runtime",
    ]
    for row in rows:
        assert (row["pictures"], row["same_landmark"], row["same_category"]) == ("8", "1", "1")
    assert [rows[n]["bit_equal"] for n in (0, 2)] == ["1", "1"]
