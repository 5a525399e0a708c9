"""The table of the loss by quantization."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.studies.quality import means, row
from lmedge.export.selection import CandidateFormat
from lmedge.report.csv_files import write_csv
from tests.export.conftest import Exported


def test_a_row_has_the_figures_of_the_export(exported: Exported) -> None:
    found = row("0", CandidateFormat(format="int8", outcome=exported.outcome, milliseconds=2.0))
    judged = exported.outcome.findings.comparisons[-1]
    assert found["file_landmark_f1"] == judged.file_scores["landmark"].macro_f1
    assert 0.9 < found["landmark_logit_correlation"] <= 1.0
    assert found["landmark_ece"] == judged.calibration["landmark"].after


def test_means_are_by_format(exported: Exported, tmp_path: Path) -> None:
    rows = [
        {
            **row("0", CandidateFormat(format=name, outcome=exported.outcome, milliseconds=time)),
            "landmark_ece": error,
        }
        for name, time, error in (
            ("int8", 2.0, 0.1),
            ("int8-ptq", 8.0, 0.5),
            ("int8", 4.0, 0.3),
            ("int8-ptq", 8.0, 0.7),
        )
    ]
    first, second = means(rows)
    assert (first["format"], first["invoke_ms"]) == ("int8", 3.0)
    assert round(first["landmark_ece"], 6) == 0.2
    assert second["landmark_ece"] == 0.6
    path = tmp_path / "quality.csv"
    write_csv(path, [*rows, first, second], data="drawings", command="python -m x")
    lines = path.read_text("utf-8").splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["# command", "# machine", "# data"]
    read = list(csv.DictReader(lines[3:]))
    assert [entry["run"] for entry in read] == ["0", "0", "0", "0", "mean", "mean"]
