"""`lmedge evaluate` in real processes: labels by name, one table, reports in a folder."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from lmedge.errors import DataError
from lmedge.train import evaluate
from lmedge.train.data.split import Split
from lmedge.train.run import Run
from tests import bad_images, small_run
from tests.in_process import lmedge
from tests.processes import assert_refused

REPORTS = {
    "evaluation.json",
    "report.txt",
    "report.csv",
    "confusion_landmark.png",
    "confusion_category.png",
    "mistakes.png",
    "activation_maps.png",
}


def test_new_photographs_some_of_them_strange(finished_run: Run, tmp_path: Path) -> None:
    data = small_run.write_photographs(tmp_path / "new", 3, seed=7)
    shutil.copytree(data / "bridges" / "old bridge", data / "bridges" / "unheard of")
    shutil.rmtree(data / "tower" / "white tower")
    bad = bad_images.text(data / "tower" / "tower" / "text.jpg")
    process = small_run.lmedge(
        "evaluate", finished_run.folder, "--data", data, "--out", tmp_path / "out"
    )
    assert process.returncode == 0, process.stderr
    assert "unheard of: not known to the run, 3 images left out" in process.stderr
    assert "skipped, not known to the run: 3 images of unheard of" in process.stdout
    assert "macro F1" in process.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == REPORTS
    report = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))
    assert report["data"] == {"path": str(data), "part": None}
    accuracy = report["accuracy"]
    assert accuracy["landmark"]["n"] == 9
    told = "landmark: 1 of 4 have no image (white tower); macro F1 "
    assert told in process.stdout
    assert told in (tmp_path / "out" / "report.txt").read_text("utf-8")
    assert accuracy["landmark"]["macro_f1_seen"] <= accuracy["landmark"]["macro_f1"]
    assert accuracy["skipped"]["pictures"] == 4
    assert accuracy["skipped"]["unknown_landmarks"] == [{"landmark": "unheard of", "pictures": 3}]
    assert str(bad) in accuracy["skipped"]["unreadable"][0]
    with (tmp_path / "out" / "report.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["head"] == "landmark"]
    f1 = [float(row["f1"]) for row in rows if row["support"] != "0"]
    assert len(f1) == 3
    assert sum(f1) / len(f1) == pytest.approx(accuracy["landmark"]["macro_f1"], abs=1e-4)


def test_without_data_it_is_the_runs_own_test_part(finished_run: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished_run.folder, tmp_path / "run"))
    process = lmedge("evaluate", folder)
    assert process.returncode == 0, process.stderr
    report = json.loads((folder / "evaluation" / "evaluation.json").read_text("utf-8"))
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    for head in ("landmark", "category"):
        assert report["accuracy"][head] == metrics["test"][head]
    assert report["data"]["part"] == "test"


class TestRefused:
    def test_what_a_run_has_learned_is_no_test(self, finished_run: Run) -> None:
        """A run without a validation and a test part, that was not cross-fitted."""
        parts = {"train": finished_run.entries("train"), "val": (), "test": ()}
        run = dataclasses.replace(finished_run, split=Split(parts))
        with pytest.raises(DataError, match="has learned all of its images; pass --data with"):
            evaluate._own(run, None)
        assert evaluate._own(run, "train").learned == len(run.entries("train"))

    def test_no_run_and_no_data_at_once(self, finished_run: Run, tmp_path: Path) -> None:
        process = lmedge("evaluate", tmp_path, "--data", tmp_path)
        assert_refused(process, 5, "not a run folder", "run.json")
        process = lmedge("evaluate", finished_run.folder, "--data", tmp_path / "gone")
        assert_refused(process, 3, "gone", "no such folder")

    def test_a_run_that_has_not_ended(self, finished_run: Run, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(finished_run.folder, tmp_path / "run"))
        (folder / "weights.safetensors").unlink()
        assert_refused(lmedge("evaluate", folder), 5, "training has not ended", "--resume")

    def test_nothing_the_run_knows(self, finished_run: Run, tmp_path: Path) -> None:
        landmarks = {"one": ("a", (9, 9, 9)), "two": ("a", (99, 9, 9))}
        data = small_run.write_photographs(tmp_path / "other", 1, landmarks=landmarks)
        out = tmp_path / "out"
        process = lmedge("evaluate", finished_run.folder, "--data", data, "--out", out)
        assert_refused(process, 3, "none of the 2 landmarks here (one, two) is a label of the run")
        assert not out.exists()

    def test_a_landmark_in_another_category(self, finished_run: Run, tmp_path: Path) -> None:
        landmarks = {"tower": ("bridges", (9, 9, 9)), "old bridge": ("bridges", (99, 9, 9))}
        data = small_run.write_photographs(tmp_path / "other", 1, landmarks=landmarks)
        process = lmedge("evaluate", finished_run.folder, "--data", data)
        assert_refused(process, 3, "'tower' is in category 'bridges' here and in 'tower'")
