"""The table of the weights of bursts."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.studies import burst_weights
from lmedge.teach.features import deviations
from lmedge.teach.ridge import Ridge
from tests.lmedge.teach import small


def test_frames_that_weigh_as_photographs_are_those_of_the_product() -> None:
    rng = np.random.default_rng(0)
    rows, truth = rng.normal(0, 1, (14, 30)).astype(np.float32), np.repeat([0, 1], 7)
    groups = [np.arange(3), np.array([3, 4]), np.array([5]), np.array([6]), np.arange(7, 14)]
    draw = burst_weights.Draw(rows=rows, truth=truth, groups=groups, tested=np.arange(1))
    found = burst_weights.WeightedRidge(draw, np.ones(14))
    scaled = rows / deviations(rows, truth)
    solution = Ridge(scaled, truth).solve(np.eye(2)[truth], 0.01)
    assert np.allclose(found.left_out(0.01), solution.left_out(groups), atol=1e-5)
    kernel, bias = solution.coefficients()
    assert np.allclose(found.answers(0.01, rows), scaled @ kernel + bias, atol=1e-5)


def test_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burst_weights, "CASES", ((4, 2, 0.5), (4, None, 1.0)))
    small.write_base(tmp_path / "base.tflite")
    small.write_photographs(tmp_path / "photographs", small.HIERARCHY | small.MORE)
    out = tmp_path / "weights.csv"
    words = [tmp_path / "photographs", "--base", tmp_path / "base.tflite", "--out", out]
    done = CliRunner().invoke(burst_weights.main, [*(str(word) for word in words), "--draws", "2"])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(out.read_text().splitlines()[3:]))
    assert len(rows) == 18 and {row["beside"] for row in rows} == {"2", "all"}
    assert all(float(row["landmark_f1"]) > 0.5 for row in rows)
    assert rows[0]["difference"] == rows[9]["difference"] == "0"
