"""The table of a comparison: whatever its width, no figure is cut off."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from lmedge.train.compare.plan import Repeat, Setting, Trial
from lmedge.train.compare.summary import ComparisonSummary, summarise_trials, write_files
from lmedge.train.compare.table import print_comparison
from lmedge.train.compare.trial import FileResult, TrialResult
from lmedge.train.data.split import Split
from lmedge.train.recipes import load_recipe


@pytest.fixture
def summary() -> ComparisonSummary:
    """Two settings of the study's recipe on three folds, with files: every column there is."""
    found = []
    recipe = load_recipe("study", [])
    for strategy, score in (("landmarks-feature", 0.81), ("categories-feature", 0.4)):
        setting = Setting(strategy=strategy, recipe_name="study", recipe=recipe, weights="imagenet")
        for fold in range(3):
            result = TrialResult(
                landmark_f1=score + 0.01 * fold,
                category_f1=0.9 + 0.02 * fold,
                train_pictures=200,
                test_pictures=50,
                tested=str(fold),
                train_seconds=7512.0,
                parameters=5_123_456,
                int8=FileResult(
                    landmark_f1=score,
                    category_f1=0.925,
                    gate_passed=fold > 0,
                    bytes=5_020_000 + 3 * fold,
                    export_seconds=60.0 * fold,
                    agreement_landmark=0.97 + 0.01 * fold,
                    agreement_category=1.0,
                ),
            )
            split = Split({"train": (), "val": (), "test": ()})
            found.append(
                (Trial(setting=setting, repeat=Repeat(seed=0, fold=fold), split=split), result)
            )
    return summarise_trials(found)


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_cut_off(
    summary: ComparisonSummary,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
    terminal: bool,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    print_comparison(summary, "a title")
    said = capsys.readouterr().out
    for figure in (
        "0.820 ±",
        "0.920 ±",
        "0.79 / 0.98",
        "0.810 / 0.925",
        "98.0 / 100.0",
        "5.02",
        "1.0 min",
        "4 of 6 files passed the gate",
        "125.2 min",
        "5.1 M",
    ):
        assert figure in said, said
    if not terminal:
        assert any("landmarks-feature" in line and "5.1 M" in line for line in said.splitlines())


def test_every_figure_of_the_files_is_in_the_summary(
    summary: ComparisonSummary, tmp_path: Path
) -> None:
    results, means, report = write_files(summary, tmp_path / "data", "lmedge compare", tmp_path)
    lines = results.read_text("utf-8").splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["# command", "# machine", "# data"]
    runs = list(csv.DictReader(lines[3:]))
    assert [run["int8_agreement_landmark"] for run in runs[:3]] == ["0.97", "0.98", "0.99"]
    assert [run["int8_gate_passed"] for run in runs[:3]] == ["False", "True", "True"]
    row = next(csv.DictReader(means.read_text("utf-8").splitlines()[3:]))
    assert (row["test_pictures"], row["gates_passed"]) == ("150", "2")
    assert (row["int8_agreement_landmark"], row["int8_agreement_category"]) == ("0.98", "1")
    assert (row["int8_landmark_f1"], row["int8_category_f1"]) == ("0.81", "0.925")
    assert (row["bytes"], row["export_seconds"], row["train_seconds"]) == ("5020003", "60", "7512")
    (first, _) = json.loads(report.read_text("utf-8"))["settings"]
    assert first["int8_agreement_landmark"] == pytest.approx(0.98)
    assert first["runs"][1]["int8"]["agreement_landmark"] == pytest.approx(0.98)
