"""The gate: what is worse than promised, or says the same of everything, is not shipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lmedge.evaluation.intervals import RESAMPLES, paired_interval, undetected_share
from lmedge.evaluation.metrics import macro_f1
from lmedge.export.verification.comparison import FileComparison, compare_outputs
from lmedge.export.verification.gate import ENOUGH, Limits, gate
from lmedge.taxonomy import Taxonomy

TAXONOMY = Taxonomy.from_pairs([("x", "a"), ("x", "b"), ("y", "c"), ("y", "d")])
ONES = {"landmark": 1.0, "category": 1.0}
ONE_POINT = Limits(tolerance=0.01, class_tolerance=1.0)


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
    truth: dict[str, np.ndarray], file: dict[str, Any], limits: Limits = ONE_POINT
) -> tuple[FileComparison, tuple[str, ...]]:
    comparison = compare_outputs("val", sure(truth), ONES, file, ONES, truth, TAXONOMY)
    return comparison, gate(comparison, file, limits).problems


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
    assert problems[0].startswith(f"{expected}, by at least ")
    assert problems[0].endswith(" with 95 % confidence, more than 1")
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
    comparison = compare_outputs("val", sure(guess), ONES, file, ONES, truth, TAXONOMY)
    assert comparison.fall("landmark") < 0
    assert gate(comparison, file, Limits(tolerance=0.0, class_tolerance=0.0)).passed


def flipped(truth: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """Return logits with `count` landmarks taken for the other of their category."""
    guess = {**truth, "landmark": truth["landmark"].copy()}
    guess["landmark"][:count] ^= 1
    return sure(guess)


class TestByTheInterval:
    def test_one_of_thirty_one_shows_nothing(self) -> None:
        """A plain difference would refuse it: three points."""
        landmark = np.arange(31) % 4
        truth = {"landmark": landmark, "category": TAXONOMY.parent_index[landmark]}
        file = probabilities(flipped(truth, 1))
        comparison = compare_outputs("val", sure(truth), ONES, file, ONES, truth, TAXONOMY)
        assert comparison.fall("landmark") > 0.02
        verdict = gate(comparison, file, Limits())
        assert verdict.passed
        (change, _) = verdict.changes
        assert change.changed == 1
        assert change.low < -0.05
        assert change.high == 0
        assert "95 % interval" in change.describe()

    def test_ten_of_a_hundred_are_refused(self, truth: dict[str, np.ndarray]) -> None:
        file = probabilities(flipped(truth, 10))
        assert any("with 95 % confidence" in p for p in judge(truth, file)[1])

    def test_what_was_lost_is_named(self, truth: dict[str, np.ndarray]) -> None:
        file = probabilities(flipped(truth, 8))
        comparison = compare_outputs("val", sure(truth), ONES, file, ONES, truth, TAXONOMY)
        change = gate(comparison, file, Limits()).changes[0]
        assert [one.name for one in change.worst] == ["a", "b", "c", "d"]
        assert all(one.pictures == 25 for one in change.worst)
        assert all(one.fall == pytest.approx(2 / 25) for one in change.worst)
        assert change.float_accuracy == 1.0
        assert change.file_accuracy == pytest.approx(0.92)

    def test_no_change_says_what_it_cannot_show(self, truth: dict[str, np.ndarray]) -> None:
        comparison = compare_outputs(
            "val", sure(truth), ONES, probabilities(sure(truth)), ONES, truth, TAXONOMY
        )
        said = gate(comparison, probabilities(sure(truth)), Limits()).changes[0].describe()
        assert "no prediction changed" in said
        assert "3.0 %" in said  # three in a hundred


class TestOneClass:
    def one_class_loses(self, images: int, lost: int) -> tuple[str, ...]:
        """Class a has `images` images of a thousand and loses `lost` of them to b."""
        landmark = np.concatenate([np.zeros(images, int), 1 + np.arange(1000) % 3])
        truth = {"landmark": landmark, "category": TAXONOMY.parent_index[landmark]}
        return judge(
            truth, probabilities(flipped(truth, lost)), Limits(tolerance=1.0, class_tolerance=0.20)
        )[1]

    def test_it_is_refused_for_one_class(self) -> None:
        (problem,) = self.one_class_loses(10, 3)
        assert problem == ("landmark 'a' fell by 30 points of recall on 10 images, more than 20")

    def test_just_the_tolerance_passes(self) -> None:
        assert self.one_class_loses(10, 2) == ()

    def test_a_class_of_few_images_is_not_judged_alone(self) -> None:
        assert self.one_class_loses(ENOUGH - 1, 5) == ()


class TestInterval:
    def brute_force(self, truth: Any, before: Any, after: Any, classes: int) -> tuple[float, float]:
        rng = np.random.default_rng(5)
        found = []
        for _ in range(3000):
            drawn = rng.integers(0, len(truth), len(truth))
            scores = [macro_f1(truth[drawn], g[drawn], classes) for g in (before, after)]
            found.append(scores[1] - scores[0])
        low, high = np.percentile(found, [2.5, 97.5])
        return float(low), float(high)

    def test_it_is_that_of_a_plain_bootstrap(self) -> None:
        rng = np.random.default_rng(0)
        truth = rng.integers(0, 5, 60)
        before = np.where(rng.random(60) < 0.9, truth, rng.integers(0, 5, 60))
        after = np.where(rng.random(60) < 0.9, before, rng.integers(0, 5, 60))
        expected = self.brute_force(truth, before, after, 5)
        found = paired_interval(truth, before, after, 5)
        np.testing.assert_allclose(found, expected, atol=0.012)

    def test_it_is_seeded_and_covers_nothing_where_nothing_changed(self) -> None:
        truth = np.arange(40) % 4
        assert paired_interval(truth, truth, truth, 4) == (0.0, 0.0)
        other = np.roll(truth, 1)
        assert paired_interval(truth, truth, other, 4) == paired_interval(truth, truth, other, 4)

    def test_many_images_take_no_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Images with the same truth and guesses are drawn as one."""
        numbers = []

        class Counted:
            def __init__(self, seed: int) -> None:
                self.whole = np.random.Generator(np.random.PCG64(seed))

            def multinomial(self, count: int, shares: np.ndarray, size: int) -> np.ndarray:
                numbers.append(len(shares) * size)
                return self.whole.multinomial(count, shares, size)

        monkeypatch.setattr(np.random, "default_rng", Counted)
        truth = np.arange(10_000) % 300
        low, high = paired_interval(truth, truth, np.roll(truth, 300), 300)
        assert low < high < 0  # the places where the classes begin anew
        assert sum(numbers) <= 2 * 300 * RESAMPLES

    def test_the_rule_of_three(self) -> None:
        assert undetected_share(100) == pytest.approx(0.0295, abs=1e-3)
        assert undetected_share(0) == 1.0


@pytest.mark.parametrize("shift", [0, 1])
def test_equal_heads_swapped(shift: int) -> None:
    """Even where both heads name the same index for every image, by how sure they are."""
    taxonomy = Taxonomy.from_pairs([("x", "a"), ("y", "b"), ("z", "c")])
    landmark = np.arange(30) % 3
    truth = {"landmark": landmark, "category": (landmark + shift) % 3}
    sizes = {"landmark": 2.0, "category": 5.0}
    logits = {head: np.eye(3, dtype=np.float32)[truth[head]] * sizes[head] for head in truth}
    whole = probabilities(logits)
    rounded = {head: np.round(values * 256) / 256 for head, values in whole.items()}
    swapped = {"landmark": rounded["category"], "category": rounded["landmark"]}
    for file, expected in (
        (rounded, ()),
        (swapped, ("the landmark and the category output are swapped",)),
    ):
        comparison = compare_outputs("val", logits, ONES, file, ONES, truth, taxonomy)
        assert (
            gate(comparison, file, Limits(tolerance=1.0, class_tolerance=1.0)).problems == expected
        )


@pytest.mark.parametrize("head", ["landmark", "category"])
class TestBroken:
    def test_an_output_that_never_changes(self, truth: dict[str, np.ndarray], head: str) -> None:
        """As int8 files are known to do; a fall of F1 is not needed to see it."""
        file = probabilities(sure(truth))
        file[head][:] = file[head][0]
        problems = judge(truth, file, limits=Limits(tolerance=1.0, class_tolerance=1.0))[1]
        assert problems == (f"the {head} output is the same for every image",)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_an_output_that_is_no_number(
        self, truth: dict[str, np.ndarray], head: str, value: float
    ) -> None:
        file = probabilities(sure(truth))
        file[head][7, 1] = value
        with np.errstate(invalid="ignore"):
            problems = judge(truth, file, limits=Limits(tolerance=1.0, class_tolerance=1.0))[1]
        assert f"the {head} output is not finite" in problems


def test_one_image_cannot_show_that_nothing_changes() -> None:
    truth = {"landmark": np.array([2]), "category": np.array([1])}
    assert judge(truth, probabilities(sure(truth)))[1] == ()


def test_a_single_category_is_always_the_same() -> None:
    taxonomy = Taxonomy.from_pairs([("x", "a"), ("x", "b")])
    truth = {"landmark": np.array([0, 1]), "category": np.array([0, 0])}
    file = {"landmark": np.eye(2), "category": np.ones((2, 1))}
    logits = {"landmark": np.eye(2) * 9, "category": np.ones((2, 1))}
    comparison = compare_outputs("val", logits, ONES, file, ONES, truth, taxonomy)
    assert gate(comparison, file, Limits()).problems == ()


def test_nothing_to_judge_by_is_refused() -> None:
    assert "no validation part" in gate(None, None, Limits()).problems[0]
