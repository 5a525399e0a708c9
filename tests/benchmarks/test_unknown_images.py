"""Images of anything else: how many a file takes for a landmark."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from lmedge.benchmarks.accuracy import score
from lmedge.classifier import Classifier
from lmedge.evaluation.folders import scan
from lmedge.image import read_image
from lmedge.rejection import Threshold
from tests.in_process import lmedge


@pytest.fixture
def unknown(tmp_path: Path) -> Path:
    folder = tmp_path / "unknown"
    folder.mkdir()
    for number in range(3):
        grey = np.full((40, 40, 3), 100 + number, np.uint8)  # one landmark of four, the least sure
        assert cv2.imwrite(str(folder / f"{number}.png"), grey)
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def test_what_the_threshold_lets_pass(tiny_file: Path, photographs: Path, unknown: Path) -> None:
    classifier = Classifier(tiny_file)
    known = [one for one in scan(photographs) if one.landmark != "grey stone"]
    found = score(classifier, known, unknown).unknown
    assert found is not None
    assert (found.pictures, found.unreadable) == (3, 1)
    assert (found.auroc, found.false_accepts, found.kept) == (1.0, 1.0, 1.0)
    sure = min(classifier.classify(read_image(one.path)).agreement for one in known)
    classifier.threshold = Threshold(least=sure)
    found = score(classifier, known, unknown).unknown
    assert found is not None
    assert (found.false_accepts, found.kept) == (0.0, 1.0)


def test_the_report_has_it(
    tiny_file: Path, photographs: Path, unknown: Path, tmp_path: Path
) -> None:
    process = lmedge(
        "benchmark",
        tiny_file,
        "--data",
        photographs,
        "--unknown",
        unknown,
        "--runs",
        5,
        "--out",
        tmp_path / "out",
    )
    assert process.returncode == 0, process.stderr
    assert "taken for a landmark" in process.stdout
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert report["accuracy"]["strangers"]["pictures"] == 3
    assert set(report["accuracy"]["calibration"]) == {"landmark", "category", "together"}


@pytest.mark.parametrize("name", ["--unknown", "--strangers"])
def test_unknown_images_need_data(tiny_file: Path, unknown: Path, name: str) -> None:
    process = lmedge("benchmark", tiny_file, name, unknown)
    assert process.returncode == 2
    assert "--unknown needs --data" in process.stderr


def test_a_folder_without_images(tiny_file: Path, photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    process = lmedge(
        "benchmark",
        tiny_file,
        "--data",
        photographs,
        "--unknown",
        tmp_path / "empty",
        "--runs",
        2,
        "--out",
        tmp_path / "out",
    )
    assert process.returncode == 3
    assert "holds 0 images" in process.stderr.splitlines()[-1]
    assert "of anything but the landmarks" in process.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
