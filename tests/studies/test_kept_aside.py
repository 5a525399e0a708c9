"""The table of what files do with photographs that they have not learned."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.studies import kept_aside
from lmedge.errors import DataError
from lmedge.train.run import Run
from tests import small_run

if TYPE_CHECKING:
    from tests.export.conftest import Exported


def measured(fold: str, guess: list[int], passed: list[bool]) -> kept_aside.Measured:
    """Return the answers for three photographs of three landmarks in one category."""
    truth = {"landmark": np.arange(3), "category": np.zeros(3, np.int64)}
    sure = {"landmark": np.eye(3, dtype=np.float32)[guess], "category": np.ones((3, 1), np.float32)}
    reported = dict.fromkeys(
        (f"{head}_{name}" for head in truth for name in ("cross_validated", "float")), 0.5
    )
    return kept_aside.Measured(
        assignment="0",
        fold=fold,
        learned=10,
        names=("a/1.jpg", "b/2.jpg", "c/3.jpg"),
        truth=truth,
        guess={"landmark": np.array(guess), "category": truth["category"]},
        marginal=sure,
        passed=np.array(passed),
        said=tuple(("abc"[one], 0.5 + one / 10) for one in guess),
        reported={**reported, "train_minutes": float(fold), "export_minutes": 1.0},
        gate_passed=1,
        near=0.25 * int(fold),
        other=0.0,
    )


def test_photographs_are_pooled_and_reports_averaged() -> None:
    parts = [measured("0", [0, 1, 2], [True] * 3), measured("1", [0, 2, 1], [True, False, False])]
    row = kept_aside.joined(parts, "all").row()
    assert (row.kept_aside, row.learned, row.landmark_wrong, row.gate_passed) == (6, 10, 2, 2)
    assert (row.kept, row.near, row.train_minutes) == (66.7, 12.5, 0.5)
    assert row.landmark_int8 == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert row.landmark_calibration == pytest.approx(2 / 6), "sure and wrong in two of six"
    assert row.category_wrong == row.category_calibration == 0


def test_an_interval_draws_all_answers_for_a_photograph_together() -> None:
    truth = np.repeat(np.arange(2), 20)
    names = [f"{number // 2}.jpg" for number in range(40)]
    wrong = np.where(np.arange(40) < 4, 1, truth)
    low, high = kept_aside.interval(names, truth, wrong)
    assert low < kept_aside.macro_f1(truth, wrong, 2) < high == 1
    alone, _ = kept_aside.interval([str(number) for number in range(40)], truth, wrong)
    assert low < alone, "fewer photographs say less"
    assert kept_aside.interval(names, truth, truth) == (1, 1)


def test_photographs_that_are_often_wrong_come_first() -> None:
    parts = [measured("0", [0, 2, 2], [True] * 3), measured("1", [0, 2, 1], [True] * 3)]
    rows = list(kept_aside.wrong_photographs(kept_aside.joined(parts, "all")))
    assert [(row.photograph, row.times, row.asked, row.said) for row in rows] == [
        ("2.jpg", 2, 2, "c"),
        ("3.jpg", 1, 2, "b"),
    ]
    assert rows[0].least_probability == pytest.approx(0.7)


def test_a_folder_that_is_no_trial_is_one_line(tmp_path: Path, finished_run: Run) -> None:
    shutil.copytree(finished_run.folder, tmp_path / "run")
    with pytest.raises(DataError, match="is not a trial of `lmedge compare`"):
        kept_aside.measure(tmp_path, [], [])


def kept_trial(trial: Path, exported: Exported) -> tuple[Path, dict[str, Any]]:
    """Return a folder as a comparison leaves it, and the metrics of its run."""
    shutil.copytree(exported.run.folder, trial / "run")
    shutil.copy(exported.path, trial / "model.tflite")
    metrics = exported.run.metrics()
    (trial / "run" / "metrics.json").write_text(
        json.dumps({**metrics, "cross_validated": metrics["test"]}), "utf-8"
    )
    result = {"train_seconds": 60.0, "int8": {"export_seconds": 30.0, "gate_passed": True}}
    (trial / "result.json").write_text(json.dumps(result), "utf-8")
    return trial, metrics


@pytest.mark.parametrize(("name", "fold"), [("fold-2-seed-1-0123abcd", "2"), ("seed-1-0c", "")])
def test_a_trial(name: str, fold: str, exported: Exported, tmp_path: Path) -> None:
    trial, metrics = kept_trial(tmp_path / f"landmarks-first-{name}", exported)
    strange = [small_run.save(tmp_path / "s.jpg", small_run.draw((5, 5, 5), 1))]
    row = kept_aside.measure(trial, strange, []).row()
    assert (row.assignment, row.fold) == ("1", fold)
    assert row.kept_aside == len(exported.run.entries("test"))
    assert row.landmark_float == metrics["test"]["landmark"]["macro_f1"]
    assert (row.train_minutes, row.export_minutes) == (1.0, 0.5)
    assert row.near in (0.0, 100.0)
    assert row.other == 0.0


def test_the_command_leaves_out_what_the_files_know(exported: Exported, tmp_path: Path) -> None:
    trial, _ = kept_trial(tmp_path / "a-fold-0-seed-0-0c", exported)
    for name in (exported.run.taxonomy.landmarks[0], "another name", "strange"):
        (tmp_path / "near" / "c" / name).mkdir(parents=True)
        small_run.save(tmp_path / "near" / "c" / name / "s.jpg", small_run.draw((5, 5, 5), 1))
    out, wrong = tmp_path / "kept.csv", tmp_path / "wrong.csv"
    near = ["--near", tmp_path / "near", "--other", tmp_path / "near", "--ignore", "another name"]
    words = [trial, *near, "--wrong", wrong, "--out", out]
    done = CliRunner().invoke(kept_aside.main, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    lines = out.read_text("utf-8").splitlines()
    assert "1 images of unknown landmarks, 3 of other things" in "\n".join(lines)
    assert len([line for line in lines if not line.startswith("#")]) == 2, "a head and one row"
