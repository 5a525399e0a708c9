"""The table of one network at several input sizes."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.studies.test_sizes import Measured, main, row, together
from lmedge.train.run import Run

if TYPE_CHECKING:
    from tests.export.conftest import Exported


@pytest.mark.slow
def test_a_row_for_each_file_and_their_sums(finished_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "sizes.csv"
    words = ["--size", "32", "--size", "64", "--epochs", "0", "--out", str(out)]
    found = CliRunner().invoke(main, [str(finished_run.folder), *words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    lines = [line for line in out.read_text().splitlines() if not line.startswith("#")]
    own, larger, *sums = csv.DictReader(lines)
    assert [one["size"] for one in (own, larger, *sums)] == ["32", "64", "32", "64"]
    scores = finished_run.metrics()["test"]
    assert float(own["float_landmark_f1"]) == pytest.approx(scores["landmark"]["macro_f1"], 1e-4)
    assert float(own["time_ratio"]) == 1
    assert float(own["tensors_snr_db"]) > 10
    assert float(larger["time_ratio"]) != 1
    assert sums[1]["file_mistakes"] == larger["file_mistakes"]
    assert (sums[0]["file_gained"], sums[0]["file_p"]) == ("0", "1")


def test_images_are_compared_in_pairs(exported: Exported) -> None:
    comparison = exported.outcome.findings.comparisons[-1]
    truth = np.arange(10) % 4

    def made(size: int, wrong: list[int]) -> Measured:
        file = truth.copy()
        file[wrong] = (file[wrong] + 1) % 4
        return Measured(
            run="0",
            size=size,
            epochs=0,
            model=exported.outcome.file,
            comparison=dataclasses.replace(
                comparison, predictions={"landmark": (truth, truth, file)}
            ),
            losses=(0.1, 0.2),
            passed=size == 224,
            noise=20.0,
        )

    files = [made(224, [0, 1, 2, 3, 4, 5]), made(256, [0, 9])]
    rows = [row(one, 1.0) for one in files]
    assert [one["file_mistakes"] for one in rows] == [6, 2]
    first, second = together(files, rows, 224)
    assert (first["gate"], second["gate"]) == ("1 passed", "0 passed")
    assert (second["file_gained"], second["file_lost"]) == (5, 1)
    assert second["file_p"] == pytest.approx(2 * (1 + 6) / 2**6)  # both tails of 6 tosses
    assert (second["float_gained"], second["float_lost"], second["float_p"]) == (0, 0, 1.0)
