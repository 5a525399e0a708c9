"""Reasons to doubt a run that has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lmedge.train.doubts import find_doubts
from lmedge.train.history import HistoryRow
from lmedge.train.run import Run
from tests import small_run
from tests.in_process import lmedge


def metrics(right: int, supports: list[int]) -> dict[str, Any]:
    """Scores of one part; the category head is always right."""
    count = sum(supports)

    def head(accuracy: float) -> dict[str, Any]:
        classes = {f"class {number}": {"support": one} for number, one in enumerate(supports)}
        return {"n": count, "accuracy": accuracy, "classes": classes}

    return {"test": {"landmark": head(right / count), "category": head(1.0)}}


def row(phase: str, epoch: int, loss: float) -> HistoryRow:
    figures = dict.fromkeys(("accuracy", "val_loss", "val_accuracy", "val_macro_f1"), 0.0)
    return HistoryRow(
        phase=phase, epoch=epoch, loss=loss, learning_rate=0.1, seconds=1.0, **figures
    )


@pytest.fixture
def run(finished_run: Run, tmp_path: Path) -> Run:
    """A run of a folder without a history."""
    import dataclasses

    return dataclasses.replace(finished_run, folder=tmp_path)


def test_a_sound_run_has_none(finished_run: Run) -> None:
    assert finished_run.metrics()["doubts"] == []


def test_a_cross_fitted_one_neither(cross_fitted_run: Run) -> None:
    assert cross_fitted_run.metrics()["doubts"] == []


@pytest.mark.parametrize(
    ("right", "supports", "learned"),
    [
        (60, [60, 60, 60, 60], False),  # one in four
        (70, [60, 60, 60, 60], False),  # as one in twenty guesses would be
        (72, [60, 60, 60, 60], True),
        (48, [50, 5, 5], False),  # fewer than the most frequent class
        (2, [1, 1], False),  # two images show nothing
        (5, [5], True),  # one class: there is nothing to learn
    ],
)
def test_a_head_at_chance(run: Run, right: int, supports: list[int], learned: bool) -> None:
    found = [
        line
        for line in find_doubts(run, [("a", 0), ("b", 0)], metrics(right, supports))
        if "the landmark head" in line
    ]
    assert (found == []) == learned
    if not learned:
        count, most = sum(supports), max(supports)
        assert f"right on {right} of {count} images" in found[0]
        assert f"would be right on {most}" in found[0]


def test_a_loss_that_never_fell(run: Run) -> None:
    rows = [row("a", epoch, loss) for epoch, loss in ((1, 2.0), (2, 2.1), (3, 2.4))]
    run.write_history(rows)
    (line,) = find_doubts(run, [("a", 3)], metrics(200, [60, 60, 60, 60]))
    assert line.startswith("a: the loss never fell in 3 epochs, from 2 to 2.4")
    run.write_history([*rows[:2], row("a", 3, 1.9)])
    assert find_doubts(run, [("a", 3)], metrics(200, [60, 60, 60, 60])) == []


def test_a_phase_that_was_left_out_and_one_that_ended(run: Run) -> None:
    run.write_history([row("a", 1, 2.0)])
    scores = metrics(200, [60, 60, 60, 60])
    assert find_doubts(run, [("a", 3), ("b", 2)], scores, ["b"]) == [
        "b was left out: the out-of-fold answers were worse with it",
        "a ended after epoch 1 of 3: the next one diverged",
    ]


def test_a_run_without_an_epoch_says_so(
    small_photographs: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    """Also with -q: it is a result."""
    words = small_run.options("head.epochs=0", "second_head.epochs=0", "fine_tune.epochs=0")
    out = tmp_path / "run"
    done = lmedge("-q", "train", small_photographs, "--out", out, "--weights", tiny_weights, *words)
    assert done.returncode == 0, done.stderr
    assert "doubtful: no phase has an epoch: the network is as it began" in done.stdout
