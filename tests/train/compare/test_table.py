"""The table of a comparison: whatever its width, no figure is cut off."""

from __future__ import annotations

import pytest

from lmedge.train.compare.plan import Cell, Repeat, Setting
from lmedge.train.compare.summary import Summary, summarise
from lmedge.train.compare.table import show
from lmedge.train.compare.trial import Int8, Result
from lmedge.train.data.split import Split
from lmedge.train.recipes.loading import load_recipe


@pytest.fixture
def summary() -> Summary:
    """Two settings of the study's recipe on three folds, with files: every column there is."""
    found = []
    recipe = load_recipe("study", [])
    for strategy, score in (("landmarks-feature", 0.81), ("categories-feature", 0.4)):
        setting = Setting(strategy, "study", recipe, "imagenet")
        for fold in range(3):
            result = Result(
                landmark_f1=score + 0.01 * fold,
                category_f1=0.9 + 0.02 * fold,
                train_pictures=200,
                test_pictures=50,
                tested=str(fold),
                train_seconds=7512.0,
                parameters=5_123_456,
                int8=Int8(score, 0.925, True, 5_020_000, 60.0),
            )
            split = Split({"train": (), "val": (), "test": ()})
            found.append((Cell(setting, Repeat(0, fold), split), result))
    return summarise(found)


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_cut_off(
    summary: Summary,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
    terminal: bool,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    show(summary, "a title")
    said = capsys.readouterr().out
    for figure in (
        "0.820 ±",
        "0.920 ±",
        "0.79 / 0.98",
        "0.810 / 0.925",
        "5.02",
        "125.2 min",
        "5.1 M",
    ):
        assert figure in said, said
    if not terminal:
        assert any("landmarks-feature" in line and "5.1 M" in line for line in said.splitlines())
