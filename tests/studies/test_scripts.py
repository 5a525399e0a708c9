"""The studies: they run as modules and write CSV files with their command, machine and data."""

from __future__ import annotations

import csv
import dataclasses
import functools
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.random import default_rng

from benchmarks.studies import camera_rate, cold_start, latency_ratios, reduced_decode, shared_cores
from benchmarks.studies.latency_ratios import noise
from lmedge.classifier import Classifier
from lmedge.errors import LmedgeError
from lmedge.evaluation.intervals import ratio_interval
from lmedge.image import decode_image, read_image
from lmedge.report import csv_files as results
from tests.locations import ROOT


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    lines = path.read_text("utf-8").splitlines()
    comments = [line for line in lines if line.startswith("#")]
    return comments, list(csv.DictReader(lines[len(comments) :]))


def modules() -> list[str]:
    """Return the import names of the studies that are run: modules with a command, packages."""
    folder = ROOT / "benchmarks" / "studies"
    found = [path.stem for path in folder.glob("*.py") if "run_study(main)" in path.read_text()]
    found += [path.parent.name for path in folder.glob("*/__main__.py")]
    return sorted(found)


@pytest.mark.parametrize("name", modules())
def test_every_study_answers_with_its_help(name: str) -> None:
    process = run("-m", f"benchmarks.studies.{name}", "--help")
    assert process.returncode == 0, process.stderr
    assert "Usage:" in process.stdout and "--help" in process.stdout
    assert "--pictures" not in process.stdout and "--strangers" not in process.stdout


@pytest.mark.parametrize("name", modules())
def test_results_were_made_with_options_that_are_there(name: str) -> None:
    used = set()
    for path in (ROOT / "benchmarks" / "results").glob("*.csv"):
        words = path.read_text("utf-8").splitlines()[0].split()
        if f"benchmarks.studies.{name}" in words:
            used |= {word for word in words if word.startswith("--")}
    if not used:
        pytest.skip("no result, or none with an option")
    assert used <= set(
        re.findall(r"--[\w-]+", run("-m", f"benchmarks.studies.{name}", "--help").stdout)
    )


def test_every_study_is_found() -> None:
    assert {"peers", "cold_start", "equality", "kill_table"} <= set(modules())
    assert len(modules()) > 20


def test_former_option_names_are_taken() -> None:
    for option in ("--images", "--pictures"):
        process = run("-m", "benchmarks.studies.clients", "none.tflite", option, "no number")
        assert process.returncode == 2
        assert "'no number' is not a valid integer" in process.stderr
    for option in ("--unknown", "--strangers"):
        process = run("-m", "benchmarks.studies.quality", "none", option, "none", "--out", "x.csv")
        assert "No such option" not in process.stderr
        assert process.returncode == 3  # none is no folder of images


def test_a_package_is_a_study_too() -> None:
    path = str(ROOT / "benchmarks" / "studies" / "peers" / "__main__.py")
    command = results.study_command([path, "a b", "runs/x"], {Path("runs/x"): "RUN"})
    assert command == "python -m benchmarks.studies.peers 'a b' RUN"


def test_rows_and_mappings_are_written_alike(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Row:
        name: str
        share: float
        rest: int | None

    path = tmp_path / "new" / "x.csv"
    results.write_csv(path, [Row("a, b", 1 / 3, None)], data="drawings", command="python -m x")
    written = path.read_text("utf-8")
    assert written.splitlines()[0] == "# command: python -m x"
    assert written.splitlines()[2:] == ["# data: drawings", "name,share,rest", '"a, b",0.33333,']
    mappings = [{"name": "a, b", "share": 1 / 3}, {"rest": 1}]
    results.write_csv(path, mappings, data="drawings", command="python -m x")
    assert path.read_text("utf-8") == written + ",,1\n"


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


def test_no_host_is_named() -> None:
    import platform

    assert platform.node() not in results.machine_line().split()


def test_float_and_integer_inputs() -> None:
    assert noise((1, 8), np.uint8).dtype == np.uint8
    assert noise((1, 8), np.int8).min() < 0
    assert noise((1, 8), np.float32).dtype == np.float32


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
