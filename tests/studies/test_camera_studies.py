"""The studies of the camera loop: steadiness, rate, and shared cores."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.studies import camera_rate, shared_cores
from lmedge.classifier import Classifier
from tests.studies.running import read, run


def test_label_stability_on_drawn_photographs(
    tiny_file: Path, photographs: Path, tmp_path: Path
) -> None:
    unknown = tmp_path / "unknown"
    unknown.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    cv2.imwrite(str(unknown / "noise.png"), noise)
    out = tmp_path / "stability.csv"
    process = run(
        "-m",
        "benchmarks.studies.label_stability",
        tiny_file,
        "--data",
        photographs,
        "--unknown",
        unknown,
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
    assert (row["file"], row["rounds"], row["memory_frames"]) == ("tiny.tflite", "2", "1000")
    assert all(float(row[name]) > 0 for name in ("loop_rate", "rate_ratio", "delay_p50_ms"))
    limit = 1.5 * float(row["invoke_ms"]) + 1000 / 30
    assert float(row["delay_limit_ms"]) == pytest.approx(limit, rel=1e-4)
    assert float(row["memory_end_mb"]) > 10  # MB, not pages


def test_the_cameras_ratios(tiny_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = iter([0.010, 0.010, 0.030])  # around two loops: 0.010 and 0.020 in the mean
    works = iter([0.008, 0.008, 0.008])
    monkeypatch.setattr(
        camera_rate, "invoke_seconds", lambda *_: camera_rate.Taken(next(clocks), next(works))
    )
    rates = []

    def loop(_: object, rate: float, __: int) -> tuple[camera_rate.Taken, list[float]]:
        rates.append(rate)
        return camera_rate.Taken(0.020, 0.010), list(map(float, range(1, 11)))

    monkeypatch.setattr(camera_rate, "loop_rate", loop)
    row = camera_rate.measure(tiny_file, Classifier(tiny_file), 1, 2, 20)
    assert rates == pytest.approx([200.0, 200.0, 30.0])  # twice too fast, twice; then a camera's
    assert row.rate_ratio == pytest.approx(0.75)
    assert (row.rate_ratio_low, row.rate_ratio_high) == pytest.approx((0.55, 0.95))
    assert row.work_ratio == pytest.approx(0.8)
    assert (row.loop_rate, row.invoke_ms) == pytest.approx((50.0, 10.0))
    assert (row.delay_p50_ms, row.delay_p90_ms) == pytest.approx((5.5, 9.1))


def test_shared_cores(tiny_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "shared.csv"
    process = run(
        "-m",
        "benchmarks.studies.shared_cores",
        tiny_file,
        "--rounds",
        1,
        "--seconds",
        0.2,
        "--out",
        out,
    )
    assert process.returncode == 0, process.stderr
    _, rows = read(out)
    assert [(row["threads"], row["processes"]) for row in rows] == [
        (threads, processes) for threads in ("measured", "1", "2") for processes in ("1", "2")
    ]
    for row in rows:
        assert float(row["first_per_second"]) > 0
        assert (row["share"] == "") == (row["processes"] == "1")
        assert row["share"] == "" or 0 < float(row["share"]) <= 1


def test_shares_are_of_the_slower_process_and_of_one_alone() -> None:
    found = [[10.0, 8.0], [12.0, 12.0], [9.0, 10.0]]
    row = shared_cores.summarise("2", 2, 6.0, found, 20.0)
    assert (row.first_per_second, row.second_per_second) == (10.0, 10.0)
    assert (row.share, row.share_low) == pytest.approx((0.9, 0.8))
    assert (row.total_per_second, row.total_ratio) == pytest.approx((19.0, 0.95))
    alone = shared_cores.summarise("2", 1, 6.0, [[10.0], [30.0], [20.0]], 20.0)
    assert (alone.share, alone.second_per_second, alone.total_ratio) == (None, None, 1.0)


def test_the_cost_of_the_jpeg_check(tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "check.csv"
    process = run(
        "-m",
        "benchmarks.studies.jpeg_check",
        tiny_file,
        "--data",
        photographs,
        "--frames",
        4,
        "--rounds",
        2,
        "--out",
        out,
    )
    assert process.returncode == 0, process.stderr
    _, (row,) = read(out)
    assert (row["frames"], row["whole_reported"], row["found_cut"]) == ("4", "0", "1")
    assert all(float(row[name]) > 0 for name in ("opencv_ms", "checked_ms", "alone_ms"))
