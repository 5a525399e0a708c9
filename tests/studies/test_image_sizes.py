"""A trained network on images of other sizes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.studies.image_sizes import log_loss, main
from lmedge.errors import RunError
from lmedge.train.run import Run
from tests import small_run


def test_at_its_own_size_it_does_what_the_run_says(finished_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "sizes.csv"
    words = [str(finished_run.folder), "--size", "32", "--size", "64", "--out", str(out)]
    found = CliRunner().invoke(main, words, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    lines = [line for line in out.read_text().splitlines() if not line.startswith("#")]
    own, larger = csv.DictReader(lines)
    assert (own["size"], larger["size"]) == ("32", "64")
    head = finished_run.metrics()["test"]["landmark_marginal"]
    assert float(own["landmark_f1"]) == pytest.approx(head["macro_f1"], abs=1e-5)
    assert own["log_loss"] != larger["log_loss"]


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        CliRunner().invoke(main, [str(tmp_path)], catch_exceptions=False)


def test_a_run_without_test_images_is_named(
    small_photographs: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sizes.csv"
    settings = ("data.test_fraction=0.0",)
    run = small_run.start(small_photographs, tmp_path / "run", tiny_weights, settings)
    with pytest.raises(RunError, match=r"run has no test images; name other runs"):
        words = [str(run.folder), "--out", str(out)]
        CliRunner().invoke(main, words, catch_exceptions=False)
    assert not out.exists()


def test_how_sure_a_network_is_does_not_count() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 200)
    logits = 2 * np.eye(4)[truth] + rng.normal(0, 1, (200, 4))
    assert log_loss(logits, truth) == pytest.approx(log_loss(2 * logits, truth), rel=1e-3)
    assert log_loss(logits, truth) <= np.log(4) + 1e-9
