"""The gate: what is worse than promised, or says the same of everything, is not shipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lmedge.export.verify import Comparison, compare, gate
from lmedge.taxonomy import Taxonomy

TAXONOMY = Taxonomy.from_pairs([("x", "a"), ("x", "b"), ("y", "c"), ("y", "d")])
ONES = {"landmark": 1.0, "category": 1.0}


@pytest.fixture
def truth() -> dict[str, np.ndarray]:
    landmark = np.arange(100) % 4
    return {"landmark": landmark, "category": TAXONOMY.parent_index[landmark]}


def sure(truth: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return logits that are right for `truth`."""
    sizes = {"landmark": 4, "category": 2}
    return {head: np.eye(n, dtype=np.float32)[truth[head]] * 9 for head, n in sizes.items()}


def probabilities(logits: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    chances = {head: np.exp(values) for head, values in logits.items()}
    return {head: values / values.sum(axis=1, keepdims=True) for head, values in chances.items()}


def judge(
    truth: dict[str, np.ndarray], file: dict[str, Any], tolerance: float = 0.01
) -> tuple[Comparison, tuple[str, ...]]:
    comparison = compare("val", sure(truth), ONES, file, truth, TAXONOMY)
    return comparison, gate(comparison, file, tolerance).problems


def test_a_file_as_good_as_float_passes(truth: dict[str, np.ndarray]) -> None:
    comparison, problems = judge(truth, probabilities(sure(truth)))
    assert problems == ()
    assert comparison.agreement == {"landmark": 1.0, "category": 1.0}
    assert comparison.fall("landmark") == 0.0


def test_a_worse_landmark_head_is_named(truth: dict[str, np.ndarray]) -> None:
    """Within its category: the other head does not notice."""
    guess = {**truth, "landmark": truth["landmark"].copy()}
    guess["landmark"][::10] ^= 1
    comparison, problems = judge(truth, probabilities(sure(guess)))
    assert len(problems) == 1
    fall = comparison.fall("landmark")
    assert 0.09 < fall < 0.11
    expected = f"landmark macro F1 fell by {100 * fall:.1f} points (1.000 -> {1 - fall:.3f})"
    assert problems[0] == f"{expected}, more than 1"
    assert comparison.agreement["landmark"] == pytest.approx(0.9)


def test_a_worse_category_head_is_named(truth: dict[str, np.ndarray]) -> None:
    guess = {head: values.copy() for head, values in truth.items()}
    guess["category"][:20] = 0
    guess["landmark"][:20] = 0
    _, problems = judge(truth, probabilities(sure(guess)))
    assert any("category macro F1 fell" in problem for problem in problems)
    assert any("landmark macro F1 fell" in problem for problem in problems)


def test_a_better_file_passes(truth: dict[str, np.ndarray]) -> None:
    guess = {**truth, "landmark": truth["landmark"].copy()}
    guess["landmark"][::10] ^= 1
    file = probabilities(sure(truth))
    comparison = compare("val", sure(guess), ONES, file, truth, TAXONOMY)
    assert comparison.fall("landmark") < 0
    assert gate(comparison, file, 0.0).passed


@pytest.mark.parametrize("points", [1, 2, 3, 5, 10, 29])
def test_a_fall_of_just_the_tolerance_passes(points: int) -> None:
    """More than it is too much; 1.00 - 0.99 is more than 0.01 only to a computer."""
    from lmedge.metrics import HeadScore
    from lmedge.scoring import Scores

    def scores(macro_f1: float) -> Scores:
        score = HeadScore(macro_f1, macro_f1, 100, (), np.zeros((4, 4), np.int64))
        return Scores(score, score, score, score, 0.0)

    file = {"landmark": np.eye(4), "category": np.eye(2)}
    for before in (100, 97, 95, 80, 71):
        after = (before - points) / 100
        exact = Comparison("val", scores(before / 100), scores(after), ONES)
        assert gate(exact, file, points / 100).passed, (before, points)
        worse = Comparison("val", scores(before / 100), scores(after - 1e-4), ONES)
        assert not gate(worse, file, points / 100).passed


@pytest.mark.parametrize("head", ["landmark", "category"])
class TestBroken:
    def test_an_output_that_never_changes(self, truth: dict[str, np.ndarray], head: str) -> None:
        """As int8 files are known to do; a fall of F1 is not needed to see it."""
        file = probabilities(sure(truth))
        file[head][:] = file[head][0]
        problems = judge(truth, file, tolerance=1.0)[1]
        assert problems == (f"the {head} output is the same for every picture",)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_an_output_that_is_no_number(
        self, truth: dict[str, np.ndarray], head: str, value: float
    ) -> None:
        file = probabilities(sure(truth))
        file[head][7, 1] = value
        with np.errstate(invalid="ignore"):
            problems = judge(truth, file, tolerance=1.0)[1]
        assert f"the {head} output is not finite" in problems


def test_one_picture_cannot_show_that_nothing_changes() -> None:
    truth = {"landmark": np.array([2]), "category": np.array([1])}
    assert judge(truth, probabilities(sure(truth)))[1] == ()


def test_a_single_category_is_always_the_same() -> None:
    taxonomy = Taxonomy.from_pairs([("x", "a"), ("x", "b")])
    truth = {"landmark": np.array([0, 1]), "category": np.array([0, 0])}
    file = {"landmark": np.eye(2), "category": np.ones((2, 1))}
    logits = {"landmark": np.eye(2) * 9, "category": np.ones((2, 1))}
    comparison = compare("val", logits, ONES, file, truth, taxonomy)
    assert gate(comparison, file, 0.01).problems == ()


def test_nothing_to_judge_by_is_refused() -> None:
    assert "no validation part" in gate(None, None, 0.01).problems[0]
