"""`lmedge benchmark`: the table, report.json, and what is refused."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tests import bad_images, processes
from tests.in_process import lmedge
from tests.processes import assert_refused


def test_report_says_what_was_measured(tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
    bad_images.text(photographs / "towers" / "red" / "text.jpg")
    arguments = ("benchmark", tiny_file, "--data", photographs, "--runs", 20, "--out", tmp_path)
    process = processes.lmedge(*arguments, COLUMNS="80")
    assert process.returncode == 0, process.stderr
    assert max(len(line) for line in process.stdout.splitlines()[:7]) <= 80
    for word in ("invoke", "macro F1", "landmark", "category", "text.jpg", "1.000"):
        assert word in process.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report) == ["schema", "file", "environment", "data", "accuracy", "latency"]
    assert report["schema"] == 2
    assert report["file"]["sha256"] == hashlib.sha256(tiny_file.read_bytes()).hexdigest()
    assert report["file"]["bytes"] == tiny_file.stat().st_size
    assert {"operator": "MEAN", "dtype": "int8", "count": 1} in report["file"]["operators"]
    assert report["environment"]["cores"] >= 1
    assert "litert" in report["environment"]["runtime"]
    for head in ("landmark", "category"):
        score = report["accuracy"][head]
        assert (score["macro_f1"], score["accuracy"], score["n"]) == (1.0, 1.0, 8)
        assert set(next(iter(score["classes"].values()))) == {
            "precision",
            "recall",
            "f1",
            "support",
        }
    assert report["accuracy"]["skipped"]["pictures"] == 1
    latency = report["latency"]
    assert (latency["threads"], latency["runs"]) == (1, 20)
    for series in ("invoke_ms", "end_to_end_ms"):
        assert set(latency[series]) == {"p50", "p90", "p95", "p99", "mean", "min", "std"}
    ratio = latency["end_to_end_ms"]["p50"] / latency["invoke_ms"]["p50"]
    assert latency["overhead"] == pytest.approx(ratio)
    assert set(latency["stages_ms"]) == {"decode", "preprocess", "invoke", "postprocess"}
    assert latency["sweep"][0]["threads"] == 1
    assert latency["peak_mb"] >= latency["steady_mb"] > 0
    assert latency["offline_per_second"] > 0
    samples = (tmp_path / "samples.csv").read_text().splitlines()
    assert samples[0] == "invoke_ms,end_to_end_ms"
    assert len(samples) == 21
    with (tmp_path / "report.csv").open(newline="") as stream:
        rows = {name: value for _, name, value in csv.reader(stream)}
    assert float(rows["landmark.macro_f1"]) == 1.0
    assert float(rows["invoke_ms.p50"]) == pytest.approx(latency["invoke_ms"]["p50"], rel=1e-4)


def test_pages_need_no_network_and_read_names_as_text(
    tiny_file: Path, photographs: Path, tmp_path: Path
) -> None:
    wrong = photographs / "towers" / "red" / "<b>x & y.jpg"
    shutil.copy(next((photographs / "domes" / "blue").iterdir()), wrong)
    process = lmedge(
        "benchmark", tiny_file, "--data", photographs, "--runs", 5, "--out", tmp_path / "out"
    )
    assert process.returncode == 0, process.stderr
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "http:" not in page.replace("http://www.w3.org/", "")
    assert "https:" not in page
    assert "&lt;b&gt;x &amp; y.jpg" in page
    assert "data:image/jpeg;base64," in page
    assert page.count("<svg") == 6
    assert "prefers-color-scheme: dark" in page
    assert "| red | landmark |" in (tmp_path / "out" / "report.md").read_text("utf-8")
    for name in ("latency", "stages", "threads", "rejection", "confusion"):
        for kind in ("png", "svg"):
            assert (tmp_path / "out" / "plots" / f"{name}.{kind}").stat().st_size > 1000


def test_a_device_without_the_extra_gets_figures(tiny_file: Path, tmp_path: Path) -> None:
    blocked = processes.without(tmp_path / "blocked", "jinja2")
    process = processes.lmedge(
        "benchmark", tiny_file, "--runs", 5, "--out", tmp_path / "out", **blocked
    )
    assert process.returncode == 0, process.stderr
    assert "lmedge[report]" in process.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"report.json", "report.csv", "samples.csv"}


@pytest.mark.parametrize("copies", [1, 2])
def test_a_plot_that_fails_leaves_the_figures(
    copies: int,
    tiny_file: Path,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was measured may have taken long, and a library of plots has errors of its own."""

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no font\nat all")

    for name in ("draw_report", "draw_pareto"):
        monkeypatch.setattr(f"lmedge.benchmarks.pages.{name}", fails)
    models = [shutil.copy(tiny_file, tmp_path / f"{number}.tflite") for number in range(copies)]
    out = tmp_path / "out"
    done = lmedge("benchmark", *models, "--data", photographs, "--runs", 5, "--out", out)
    assert done.returncode == 0, done.stderr
    name = "report" if copies == 1 else "comparison"
    assert f"{name}.html was not written: no font at all" in done.stderr
    assert {path.name for path in out.iterdir()} == {f"{name}.json", f"{name}.csv", "samples.csv"}
    assert f"{name}.json, {name}.csv, samples.csv" in " ".join(done.stdout.split())


def test_without_data_speed_alone_and_in_the_default_folder(
    tiny_file: Path, tmp_path: Path
) -> None:
    for _ in range(2):  # its own old report is replaced
        process = processes.lmedge("-q", "benchmark", tiny_file, "--runs", 5, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        assert process.stderr == ""
    report = json.loads((tmp_path / "runs" / "benchmark-tiny" / "report.json").read_text())
    assert report["accuracy"] is None
    assert report["data"] is None


def test_the_test_part_is_measured_unless_asked(
    tiny_file: Path, photographs: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(photographs, data / "train")
    shutil.copytree(photographs / "towers", data / "test" / "towers")
    arguments = ("benchmark", tiny_file, "--data", data, "--runs", 1, "--out", tmp_path)
    for options, part, images in (((), "test", 4), (("--part", "train"), "train", 8)):
        assert lmedge(*arguments, *options).returncode == 0
        report = json.loads((tmp_path / "report.json").read_text())
        assert report["data"]["part"] == part
        assert report["accuracy"]["landmark"]["n"] == images
    assert_refused(lmedge(*arguments, "--part", "val"), 3, "'val'", "train, test")


def test_bad_input_is_refused_before_anything_is_measured(
    tiny_file: Path, photographs: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(tiny_file.read_bytes()[:-200])
    assert_refused(lmedge("benchmark", tiny_file, "--data", tmp_path / "absent"), 3, "absent")
    assert_refused(lmedge("benchmark", tiny_file, "--data", tmp_path / "empty"), 3, "empty")
    assert_refused(lmedge("benchmark", bad, "--data", photographs), 4, "bad.tflite")
    assert not list(tmp_path.rglob("report.json"))


@pytest.mark.parametrize(
    ("what", "several"),
    [
        ("landmarks", False),
        ("landmarks", True),
        ("categories", False),
        ("categories", True),
        ("unknown", False),  # they go with one file
    ],
)
def test_images_that_do_not_fit_are_refused_before_anything_is_measured(
    what: str,
    several: bool,
    tiny_file: Path,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measured(*_: object, **__: object) -> None:
        pytest.fail("it was measured before")

    monkeypatch.setattr("lmedge.benchmarks.command.measure", measured)
    monkeypatch.setattr("lmedge.benchmarks.several.take_timed_turns", measured)
    files, words = [tiny_file, *([tiny_file] if several else [])], ["--out", tmp_path / "out"]
    if what == "unknown":
        words += ["--unknown", tmp_path / "absent"]
    elif what == "categories":
        (photographs / "towers" / "red").rename(photographs / "domes" / "red")
    else:
        photographs = photographs.rename(tmp_path / "photographs of others")
        for number, folder in enumerate(sorted(photographs.glob("*/*"))):
            folder.rename(folder.with_name(f"new {number}"))
    told = {
        "landmarks": "is a label of the file",
        "categories": "'red' is in category 'domes' here",
        "unknown": "absent: no such folder",
    }
    done = lmedge("-q", "benchmark", *files, "--data", photographs, *words)
    assert_refused(done, 3, told[what])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options", [["--part", "test"], ["--runs", "0"], ["--threads", "x"], ["--runs", "9", "--quick"]]
)
def test_wrong_arguments(tiny_file: Path, options: list[str]) -> None:
    process = lmedge("benchmark", tiny_file, *options)
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
