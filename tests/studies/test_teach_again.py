"""The table of landmarks that are taken out and taught again."""

from __future__ import annotations

import csv
from pathlib import Path

from click.testing import CliRunner

from benchmarks.studies import teach_again
from tests.lmedge.teach import small


def test_the_table(tmp_path: Path) -> None:
    small.write_base(tmp_path / "base.tflite")
    small.write_photographs(tmp_path / "photographs", small.HIERARCHY | small.MORE)
    out = tmp_path / "again.csv"
    words = [tmp_path / "photographs", "--base", tmp_path / "base.tflite", "--out", out]
    done = CliRunner().invoke(teach_again.main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(out.read_text().splitlines()[3:]))
    assert [row["landmark"] for row in rows] == sorted(small.HIERARCHY | small.MORE)
    assert {row["same_bytes"] for row in rows} == {"True"}
    assert {row["removed_same_bytes"] for row in rows} == {"True"}
    for row in rows:
        assert min(float(row["old_before"]), float(row["old_after"])) > 0.7
        assert row["refused"] == "0"
        assert float(row["own_f1"]) > 0.5
