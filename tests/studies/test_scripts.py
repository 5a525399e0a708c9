"""The scripts: run by their path or as modules, they write CSV that says how it came about."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.studies.latency_ratios import noise
from lmedge.evaluation.intervals import ratio_interval
from lmedge.report import csv_files as results
from tests.locations import ROOT


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    lines = path.read_text("utf-8").splitlines()
    comments = [line for line in lines if line.startswith("#")]
    return comments, list(csv.DictReader(lines[len(comments) :]))


SCRIPTS = [
    "cold_start",
    "latency_ratios",
    "label_stability",
    "camera_rate",
    "reduced_decode",
    "reconnect",
    "arm64",
    "shared_cores",
    "clients",
]


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_by_path_and_as_a_module(name: str) -> None:
    for how in ([ROOT / "benchmarks" / f"{name}.py"], ["-m", f"lmedge.benchmarks.{name}"]):
        process = run(*how, "--help")
        assert process.returncode == 0, process.stderr
        assert "--out" in process.stdout


def test_a_package_is_a_script_too() -> None:
    process = run("-m", "benchmarks.studies.peers", "--help")
    assert process.returncode == 0, process.stderr
    assert "--rounds" in process.stdout
    path = str(ROOT / "benchmarks" / "peers" / "__main__.py")
    assert results.command_line([path, "a b"]) == "python -m benchmarks.studies.peers 'a b'"


def test_cold_start(tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
    image = photographs / "towers" / "red" / "0.jpg"
    out = tmp_path / "new" / "cold.csv"
    script = ROOT / "benchmarks" / "cold_start.py"
    process = run(script, tiny_file, image, "--processes", 2, "--out", out)
    assert process.returncode == 0, process.stderr
    comments, (help_row, predict_row) = read(out)
    assert [line.split(":")[0] for line in comments] == ["# command", "# machine", "# data"]
    assert "python -m benchmarks.studies.cold_start" in comments[0]
    assert "cores, Python 3" in comments[1]
    assert help_row["command"] == "lmedge --help"
    assert 0 < float(predict_row["seconds_min"]) <= float(predict_row["seconds_max"])
    # Private memory is about 20 MB; the rest are clean pages of the libraries' files, of which the
    # kernel maps more where they were just written (93 MB in one environment, 135 in a new one).
    assert 40 < float(predict_row["peak_mb_median"]) < 160


def test_latency_ratios_of_any_file(tiny_file: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.tflite"
    data = tiny_file.read_bytes()
    plain.write_bytes(data[: data.index(b"PK\x03\x04")])
    out = tmp_path / "ratios.csv"
    script = ROOT / "benchmarks" / "latency_ratios.py"
    process = run(script, tiny_file, plain, "--rounds", 30, "--out", out)
    assert process.returncode == 0, process.stderr
    _, rows = read(out)
    assert [row["name"] for row in rows] == [
        "tiny.tflite",
        "plain.tflite",
        "tiny.tflite: classify 640 x 480",
    ]
    assert [int(row["bytes"]) for row in rows[:2]] == [len(data), plain.stat().st_size]
    assert float(rows[0]["ratio"]) == 1.0
    assert float(rows[2]["ratio"]) > 1.0
    for row in rows:
        assert float(row["ratio_low"]) <= float(row["ratio"]) <= float(row["ratio_high"])


def test_label_stability_on_drawn_photographs(
    tiny_file: Path, photographs: Path, tmp_path: Path
) -> None:
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    cv2.imwrite(str(strangers / "noise.png"), noise)
    out = tmp_path / "stability.csv"
    process = run(
        "-m",
        "benchmarks.studies.label_stability",
        tiny_file,
        "--data",
        photographs,
        "--strangers",
        strangers,
        "--scenes",
        4,
        "--out",
        out,
    )
    assert process.returncode == 0, process.stderr
    _, rows = read(out)
    assert rows[0]["way"] == "none" and int(rows[0]["frames"]) == 5 * 60
    default = next(row for row in rows if "default" in row["way"])
    assert float(default["changes_per_minute"]) <= float(rows[0]["changes_per_minute"])
    assert float(default["accuracy_settled"]) > 0.9


def test_the_cameras_rate(tiny_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "rate.csv"
    process = run(
        "-m",
        "benchmarks.studies.camera_rate",
        tiny_file,
        "--rounds",
        2,
        "--runs",
        20,
        "--memory-frames",
        1000,
        "--out",
        out,
    )
    assert process.returncode == 0, process.stderr
    _, (row,) = read(out)
    assert 0 < float(row["delay_p50_ms"]) <= float(row["delay_p90_ms"])
    assert 0 < float(row["rate_ratio_low"]) <= float(row["rate_ratio"])


def test_reduced_decoding_says_the_same(tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "reduced.csv"
    process = run(
        "-m",
        "benchmarks.studies.reduced_decode",
        tiny_file,
        "--data",
        photographs,
        "--pictures",
        2,
        "--out",
        out,
    )
    assert process.returncode == 0, process.stderr
    _, (row,) = read(out)
    assert float(row["same_landmark"]) == float(row["same_category"]) == 1.0
    assert float(row["reduced_ms"]) < float(row["full_ms"])


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.tflite").write_text("this is not a model")
    process = run("-m", "benchmarks.studies.latency_ratios", tmp_path / "text.tflite")
    assert process.returncode == 4
    assert len(process.stderr.splitlines()) == 1


def test_the_interval_holds_the_ratio_and_ignores_what_hits_both() -> None:
    random = np.random.default_rng(1)
    noise = 1 + random.exponential(1.0, 400)  # a busy machine slows both of a round alike
    low, high = ratio_interval(2.0 * noise * random.normal(1, 0.01, 400), noise)
    assert 1.95 < low < 2.0 < high < 2.05


def test_no_host_is_named() -> None:
    import platform

    assert platform.node() not in results.machine_line().split()


def test_float_and_integer_inputs() -> None:
    assert noise((1, 8), np.uint8).dtype == np.uint8
    assert noise((1, 8), np.int8).min() < 0
    assert noise((1, 8), np.float32).dtype == np.float32


def test_shared_cores(tiny_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "shared.csv"
    script = ROOT / "benchmarks" / "shared_cores.py"
    process = run(script, tiny_file, "--rounds", 1, "--seconds", 0.2, "--out", out)
    assert process.returncode == 0, process.stderr
    _, rows = read(out)
    assert [(row["threads"], row["processes"]) for row in rows] == [
        (threads, processes) for threads in ("measured", "1", "2") for processes in ("1", "2")
    ]
    for row in rows:
        assert float(row["first_per_second"]) > 0
        assert (row["share"] == "") == (row["processes"] == "1")
        assert row["share"] == "" or 0 < float(row["share"]) <= 1
    assert float(rows[0]["total_ratio"]) == 1.0
