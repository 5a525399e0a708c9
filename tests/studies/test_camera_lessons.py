"""The table of lessons of a camera, with small photographs and few kills."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.studies import camera_lessons
from tests.lmedge.teach import small


@pytest.mark.slow
def test_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_lessons, "QUIET", 0.5)
    small.write_base(tmp_path / "base.tflite")
    small.write_photographs(tmp_path / "photographs", small.HIERARCHY | small.MORE)
    out = tmp_path / "lessons.csv"
    words = ["--data", tmp_path / "photographs", "--base", tmp_path / "base.tflite", "--out", out]
    words += ["--landmarks", 2, "--kills", 1]
    done = CliRunner().invoke(camera_lessons.main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(out.read_text().splitlines()[3:]))
    assert [row["taught"] for row in rows] == ["0", "1", "2", "2", "2", "2 at once"]
    assert [row["landmarks"] for row in rows] == ["3", "4", "5", "5", "5", "5"]
    assert all(0.5 < float(row["macro_f1"]) <= 1 for row in rows)
    kills = list(csv.DictReader((tmp_path / "lessons_kills.csv").read_text().splitlines()[3:]))
    assert [row["step"] for row in kills] == ["burst", "teaching", "replacing"]
    for row in kills:
        assert (row["neither"], row["start_again"]) == ("0", "1")
        assert row["way_back"] == row["new"]
