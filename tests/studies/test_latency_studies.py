"""Cold starts, ratios of times and the decoding at reduced scale."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng

from benchmarks.studies import cold_start, latency_ratios, reduced_decode
from benchmarks.studies.latency_ratios import noise
from lmedge.errors import LmedgeError
from lmedge.evaluation.intervals import ratio_interval
from lmedge.image import decode_image, read_image
from tests.studies.running import read, run


def test_cold_start(tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
    image = photographs / "towers" / "red" / "0.jpg"
    out = tmp_path / "new" / "cold.csv"
    process = run(
        "-m", "benchmarks.studies.cold_start", tiny_file, image, "--processes", 2, "--out", out
    )
    assert process.returncode == 0, process.stderr
    comments, (help_row, predict_row) = read(out)
    assert [line.split(":")[0] for line in comments] == ["# command", "# machine", "# data"]
    assert "python -m benchmarks.studies.cold_start" in comments[0]
    assert "cores, Python 3" in comments[1]
    assert help_row["command"] == "lmedge --help"
    assert (help_row["processes"], predict_row["processes"]) == ("2", "2")
    # Private memory is about 20 MB; the rest are clean pages of the libraries' files, of which the
    # kernel maps more where they were just written (93 MB in one environment, 135 in a new one).
    assert 40 < float(predict_row["peak_mb_median"]) < 160


def test_a_start_is_seconds_and_peak_of_the_whole_process() -> None:
    code = """
from benchmarks.studies.cold_start import start
for line in ("import time; time.sleep(0.5)", "bytearray(200_000_000)"):
    found = start(["-c", line])
    print(found.seconds, found.peak_mb)
"""
    process = run("-c", code)  # a small parent: a child's peak is never below that of its parent
    assert process.returncode == 0, process.stderr
    idle, busy = ([float(word) for word in line.split()] for line in process.stdout.splitlines())
    assert idle[0] > 0.5
    assert busy[1] > 200 > idle[1]
    with pytest.raises(LmedgeError, match="failed; run it alone"):
        cold_start.start(["-c", "raise SystemExit(3)"])


def test_the_parent_of_a_cold_start_is_small() -> None:
    code = (
        "import sys, benchmarks.studies.cold_start as _; print({'numpy', 'cv2'} & set(sys.modules))"
    )
    assert run("-c", code).stdout == "set()\n"


def test_peaks_below_that_of_an_empty_python_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = iter([(0.3, 50.0), (0.1, 40.0), (0.2, 60.0), (0.0, 39.0)])
    monkeypatch.setattr(cold_start, "start", lambda _: cold_start.Start(*next(starts)))
    row = cold_start.measure("x", ["--help"], 3)
    assert (row.seconds_min, row.seconds_median, row.seconds_max) == (0.1, 0.2, 0.3)
    assert row.peak_mb_min is row.peak_mb_median is row.peak_mb_max is None
    starts = iter([(0.3, 50.0), (0.1, 40.0), (0.2, 60.0), (0.0, 10.0)])
    row = cold_start.measure("x", ["--help"], 3)
    assert (row.peak_mb_min, row.peak_mb_median, row.peak_mb_max) == (40.0, 50.0, 60.0)


def test_latency_ratios_of_any_file(tiny_file: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.tflite"
    data = tiny_file.read_bytes()
    plain.write_bytes(data[: data.index(b"PK\x03\x04")])
    out = tmp_path / "ratios.csv"
    process = run(
        "-m", "benchmarks.studies.latency_ratios", tiny_file, plain, "--rounds", 30, "--out", out
    )
    assert process.returncode == 0, process.stderr
    _, rows = read(out)
    assert [row["name"] for row in rows] == [
        "tiny.tflite",
        "plain.tflite",
        "tiny.tflite: classify 640 x 480",
    ]
    assert [int(row["bytes"]) for row in rows[:2]] == [len(data), plain.stat().st_size]
    assert [row["rounds"] for row in rows] == ["30"] * 3
    assert float(rows[2]["ratio"]) > 1.0


def test_ratios_are_of_medians_and_ignore_what_hits_both() -> None:
    noise = 1 + np.random.default_rng(0).exponential(1.0, 400)
    contestants = [latency_ratios.Contestant(name, 10, lambda: None) for name in "ab"]
    first, second = latency_ratios.summarise(contestants, np.stack([2.0 * noise, 3.0 * noise]))
    assert (first.ratio, first.ratio_low, first.ratio_high) == (1.0, 1.0, 1.0)
    assert second.ratio == pytest.approx(1.5)
    assert 1.499 < second.ratio_low <= second.ratio_high < 1.501
    assert second.p50_ms == pytest.approx(3 * np.median(noise))
    assert second.p90_ms == pytest.approx(3 * np.percentile(noise, 90))


def test_contestants_take_turns() -> None:
    order: list[str] = []
    contestants = [
        latency_ratios.Contestant(name, 1, functools.partial(order.append, name)) for name in "abc"
    ]
    taken = latency_ratios.measure(contestants, 4)
    assert taken.shape == (3, 4)
    assert order.count("a") == order.count("b") == order.count("c") == 4 + 20
    rounds = ["".join(order[at : at + 3]) for at in range(0, len(order), 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len({one[0] for one in rounds}) > 1  # not always the same one first


def test_reduced_decoding_says_the_same(tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "reduced.csv"
    process = run(
        "-m",
        "benchmarks.studies.reduced_decode",
        tiny_file,
        "--data",
        photographs,
        "--images",
        2,
        "--out",
        out,
    )
    assert process.returncode == 0, process.stderr
    _, (row,) = read(out)
    assert float(row["same_landmark"]) == float(row["same_category"]) == 1.0
    times = [float(row[name]) for name in ("full_ms", "reduced_ms")]
    assert float(row["speedup"]) == pytest.approx(times[0] / times[1], rel=1e-3)
    assert (row["pictures"], row["megapixels"]) == ("2", "12")
    large = reduced_decode.enlarge(read_image(next(photographs.rglob("*.jpg"))), default_rng(0))
    assert large.shape[0] * large.shape[1] == pytest.approx(12e6, rel=0.01)
    encoded = reduced_decode.encode(large)
    whole, reduced = decode_image(encoded, "x", None), decode_image(encoded, "x", 224)
    assert whole.shape == large.shape
    assert reduced.size * 60 < whole.size  # an eighth of each side is decoded


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


def test_float_and_integer_inputs() -> None:
    assert noise((1, 8), np.uint8).dtype == np.uint8
    assert noise((1, 8), np.int8).min() < 0
    assert noise((1, 8), np.float32).dtype == np.float32
