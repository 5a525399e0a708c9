"""The studies of collected frames: labelling in a browser, and the closed loop."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.studies import closed_loop, labelling
from lmedge.evaluation.folders import scan
from lmedge.train import demo as drawings
from tests import small_run

BASE = Path(closed_loop.__file__).parents[2] / "lmedge" / "teach" / "base.tflite"


def rows_of(path: Path) -> list[dict[str, str]]:
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_labelling_gives_every_frame_its_label(
    tiny_file: Path, small_photographs: Path, tmp_path: Path
) -> None:
    words = [tiny_file, "--data", small_photographs, "--images", 20, "--out", tmp_path / "l.csv"]
    done = CliRunner().invoke(labelling.main, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (row,) = rows_of(tmp_path / "l.csv")
    assert row["frames"] == "20" and row["wrong_labels"] == "0"
    kinds = ("enter", "digits", "letters", "moves")
    assert int(row["keystrokes"]) == sum(int(row[kind]) for kind in kinds)


def test_the_cut_is_stratified_and_loses_nothing(small_photographs: Path) -> None:
    images = scan(small_photographs)
    parts = closed_loop.cut(images, 3)
    assert sorted(one.path for part in parts for one in part) == sorted(one.path for one in images)
    for part, count in zip(parts, (3, 4, 5), strict=True):
        assert {name: [i.landmark for i in part].count(name) for name in small_run.LANDMARKS} == (
            dict.fromkeys(small_run.LANDMARKS, count)
        )


def test_a_clip_shows_each_image_for_its_time_and_moves(small_photographs: Path) -> None:
    images = [(one.path, one.landmark) for one in scan(small_photographs)][:2]
    clip = closed_loop.Clip(images)
    frames = list(clip)
    assert len(frames) == 2 * closed_loop.RATE * closed_loop.SHOWN
    assert [clip.shown_at(one.seconds) for one in frames] == (
        [images[0]] * (len(frames) // 2) + [images[1]] * (len(frames) // 2)
    )
    assert not np.array_equal(frames[0].image, frames[9].image)


@pytest.mark.skipif(not BASE.exists(), reason="needs the base of `make base`")
def test_the_loop_labels_what_was_collected(tmp_path: Path) -> None:
    drawings.write_data_set(tmp_path / "data", 8, 0)  # 12 landmarks
    words = ["--data", tmp_path / "data", "--splits", 1, "--out", tmp_path / "c.csv"]
    done = CliRunner().invoke(closed_loop.main, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    rows = {row["taught_from"]: row for row in rows_of(tmp_path / "c.csv")}
    assert rows["first half"]["photographs"] == "36"
    assert rows["both halves"]["photographs"] == "72"
    collected = rows["and collected"]
    assert int(collected["labels"]) > 0
    assert int(collected["photographs"]) == 36 + int(collected["labels_of_landmarks"])
    assert rows["and as many at random, 1"]["labels"] == collected["labels"]
    shown = rows["and as many, shown first"]
    assert shown["labels"] == collected["labels"]
    assert int(shown["photographs"]) == 36 + int(shown["labels_of_landmarks"])
