"""The study of many files: what is added for each is bounded, and nothing is read twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.studies.running import read, run

pytestmark = pytest.mark.study


def test_memory_is_a_bounded_number_of_bytes_a_file(tmp_path: Path) -> None:
    out = tmp_path / "files.csv"
    done = run("-m", "benchmarks.studies.many_files", "--files", "500,4000", "--out", out)
    assert done.returncode == 0, done.stderr
    comments, rows = read(out)
    assert comments[2] == "# data: hard links to 64 drawings of 64 x 48 pixels, 50 landmarks"
    few, many = rows[:5], rows[5:]
    stages = ["list", "check", "check again", "train", "train again"]
    assert [row["stage"] for row in few] == [row["stage"] for row in many] == stages
    for one, other in zip(few, many, strict=True):
        assert (one["files"], other["files"]) == ("500", "4000")
        grown = 1e6 * (float(other["peak_mb"]) - float(one["peak_mb"])) / 3500
        assert grown < 5000, other["stage"]
    first, again = float(many[1]["cpu_seconds"]), float(many[2]["cpu_seconds"])
    assert again < first
