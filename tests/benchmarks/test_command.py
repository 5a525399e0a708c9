"""`lmedge benchmark`: the table, report.json, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tests import bad_pictures
from tests.processes import assert_refused, lmedge


def test_report_says_what_was_measured(tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
    bad_pictures.text(photographs / "towers" / "red" / "text.jpg")
    arguments = ("benchmark", tiny_file, "--data", photographs, "--runs", 20, "--out", tmp_path)
    process = lmedge(*arguments, COLUMNS="80")
    assert process.returncode == 0, process.stderr
    assert max(len(line) for line in process.stdout.splitlines()[:12]) <= 80
    for word in ("invoke", "macro F1", "landmark", "category", "text.jpg", "1.000"):
        assert word in process.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report) == ["schema", "file", "environment", "data", "accuracy", "latency"]
    assert report["schema"] == 1
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
        assert set(latency[series]) == {"p50", "p90", "p99", "mean"}
    ratio = latency["end_to_end_ms"]["p50"] / latency["invoke_ms"]["p50"]
    assert latency["overhead"] == pytest.approx(ratio)


def test_without_data_speed_alone_and_in_the_default_folder(
    tiny_file: Path, tmp_path: Path
) -> None:
    for _ in range(2):  # its own old report is replaced
        process = lmedge("-q", "benchmark", tiny_file, "--runs", 5, cwd=tmp_path)
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
    for options, part, pictures in (((), "test", 4), (("--part", "train"), "train", 8)):
        assert lmedge(*arguments, *options).returncode == 0
        report = json.loads((tmp_path / "report.json").read_text())
        assert report["data"]["part"] == part
        assert report["accuracy"]["landmark"]["n"] == pictures
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


@pytest.mark.parametrize("options", [["--part", "test"], ["--runs", "0"], ["--threads", "x"]])
def test_wrong_arguments(tiny_file: Path, options: list[str]) -> None:
    process = lmedge("benchmark", tiny_file, *options)
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
