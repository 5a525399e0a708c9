"""Several files in one call."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from lmedge.benchmarks.conditions import Conditions, Moment
from lmedge.benchmarks.contestants import Runtime, contestants
from lmedge.benchmarks.pages import write_comparison
from lmedge.benchmarks.several import BenchmarkComparison, ComparedFile
from lmedge.benchmarks.tables import show_comparison
from lmedge.evaluation.intervals import ratio_interval
from tests import bad_images, processes
from tests.in_process import lmedge
from tests.processes import assert_refused


@pytest.fixture
def copy(tiny_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny_file, tmp_path / "copy.tflite"))


def test_the_same_file_twice_is_the_same(
    tiny_file: Path, copy: Path, photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("--data", photographs, "--runs", 60, "--out", out)
    process = processes.lmedge("benchmark", tiny_file, copy, *words, COLUMNS="80")
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
    low, _ = second["ratio_interval"]
    assert second["ratio"] == pytest.approx(second["p50_ms"] / first["p50_ms"])
    assert (out / "pareto.png").stat().st_size > 2000
    samples = (out / "samples.csv").read_text().splitlines()
    assert samples[0] == f"{tiny_file.name},copy.tflite"
    times = np.array([row.split(",") for row in samples[1:]], np.float64)
    assert np.median(times[:, 1]) == pytest.approx(second["p50_ms"], abs=1e-5)
    interval = ratio_interval(times[:, 1], times[:, 0])
    assert second["ratio_interval"] == pytest.approx(interval, rel=1e-4)
    rows = list(csv.DictReader((out / "comparison.csv").read_text().splitlines()))
    assert float(rows[1]["ratio_interval_low"]) == pytest.approx(low, rel=1e-5)
    page, text = (out / "comparison.html").read_text(), (out / "comparison.md").read_text()
    for shown in (f"{second['ratio']:.3f}", "copy.tflite", "95 %"):
        assert shown in page
        assert shown in text
    assert "8 images, both heads decoded together." in page
    assert "8 images, both heads decoded together" in text
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_landmarks_without_images_and_images_left_out_are_named(
    tiny_file: Path, copy: Path, photographs: Path, tmp_path: Path
) -> None:
    shutil.rmtree(photographs / "towers" / "red")
    bad_images.text(photographs / "towers" / "green" / "text.jpg")
    shutil.copytree(photographs / "towers" / "green", photographs / "towers" / "new")
    out = tmp_path / "out"
    done = lmedge("benchmark", tiny_file, copy, "--data", photographs, "--runs", 20, "--out", out)
    assert done.returncode == 0, done.stderr
    report = json.loads((out / "comparison.json").read_text())
    assert (report["pictures"], report["absent"], report["left_out"]) == (6, ["red"], 4)
    first, _ = report["entries"]
    assert (first["macro_f1"], first["macro_f1_seen"]) == (1.0, 1.0)
    told = "1 landmark has no image (red); macro F1 is over the others, and over all that were"
    shown = " ".join(done.stdout.split())
    page, text = (out / "comparison.html").read_text(), (out / "comparison.md").read_text()
    for output in (shown, page, text):
        assert told in output
        assert "not known to the files or not readable: 4 images" in output


def test_doubts_are_said_in_every_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    entries = tuple(
        ComparedFile(
            name=name,
            runtime="x",
            bytes=1,
            p50_ms=1.0,
            p90_ms=1.0,
            ratio=1.0,
            ratio_interval=(1.0, 1.0),
        )
        for name in "ab"
    )
    doubt = "other processes kept 1.9 of 2 cores busy"
    found = BenchmarkComparison(
        machine="a board",
        runs=2,
        pictures=0,
        entries=entries,
        noisy=(doubt,),
        samples=np.ones((2, 2), np.int64),
    )
    write_comparison(found, tmp_path)
    with (tmp_path / "table.txt").open("w") as file:
        show_comparison(found, Console(file=file))
    assert json.loads((tmp_path / "comparison.json").read_text())["noisy"] == [doubt]
    for name in ("comparison.html", "comparison.md", "table.txt"):
        assert doubt in (tmp_path / name).read_text(), name


def test_what_workers_do_is_not_the_doing_of_others() -> None:
    def moment(busy: float, own: float, seconds: float) -> Moment:
        return dataclasses.replace(
            Moment.now(), busy_seconds=busy, own_seconds=own, seconds=seconds
        )

    assert Conditions(before=moment(0, 0, 0), after=moment(10, 10, 10)).others == 0
    assert Moment.now(helpers=100.0).own_seconds > 100.0


def test_seconds_of_another_process_are_counted(tiny_file: Path) -> None:
    with contestants([tiny_file], [Runtime(name="litert")], 1) as (there,):
        there.show(np.zeros((2000, 2000, 3), np.uint8))
        before = there.helper_seconds
        for _ in range(50):
            there.time()
        assert before < there.helper_seconds < before + 60


def test_without_images_speed_alone(tiny_file: Path, copy: Path, tmp_path: Path) -> None:
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
