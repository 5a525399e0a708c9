"""The script that holds scores against each other: which unknown images it takes, and its table."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.studies.unknown_scores import images_of, main
from lmedge.errors import DataError
from tests.export.conftest import Exported


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Write three landmarks' folders with four images of noise each."""
    rng = np.random.default_rng(0)
    for landmark in ("one", "two", "three"):
        (tmp_path / "noise" / "towers" / landmark).mkdir(parents=True)
        for number in range(4):
            path = tmp_path / "noise" / "towers" / landmark / f"{number}.png"
            cv2.imwrite(str(path), rng.integers(0, 255, (40, 40, 3), np.uint8))
    return tmp_path / "noise"


def test_known_landmarks_are_left_out(noise: Path) -> None:
    found = images_of([f"a={noise}", f"b={noise}"], ["one", "another"], 1000)
    assert list(found) == ["a", "b"]
    assert {path.parent.name for path in found["a"]} == {"two", "three"}
    assert len(found["a"]) == 8


def test_thinned_evenly(noise: Path) -> None:
    (found,) = images_of([f"a={noise}"], [], 4).values()
    assert [path.parent.name for path in found].count("two") == len(found) // 3
    assert 3 <= len(found) <= 4


@pytest.mark.parametrize("word", ["folder", "a="])
def test_unknown_images_need_a_name(word: str) -> None:
    with pytest.raises(DataError, match="NAME=DIR"):
        images_of([word], [], 10)


def test_nothing_left(noise: Path) -> None:
    with pytest.raises(DataError, match="no images are left"):
        images_of([f"a={noise}"], ["one", "two", "three"], 10)


def test_the_table(exported: Exported, noise: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    words = [str(exported.run.folder), "--unknown", f"noise={noise}", "--out", str(out)]
    done = CliRunner().invoke(main, [*words, "--file", str(exported.path)], catch_exceptions=False)
    assert done.exit_code == 0
    lines = out.read_text("utf-8").splitlines()
    assert lines[2] == "# data: 1 runs, unknown images: 12 noise"
    rows = list(csv.DictReader(lines[3:]))
    assert [row["score"] for row in rows][-2:] == [
        "int8 file: agreement of both heads",
        "int8 file: third output",
    ]
    assert len(rows) == 13
    assert all(
        0 <= float(row[name]) <= 1 for row in rows for name in ("auroc", "false_accepts_at_95")
    )
