"""Confusions and weak classes, in an order of their own."""

from __future__ import annotations

import numpy as np
import pytest

from lmedge.evaluation.intervals import macro_f1_interval
from lmedge.evaluation.metrics import classes_by_f1, confusions, score_head, weakest_classes
from lmedge.report.per_class import absent_notes


def test_the_most_frequent_confusion_comes_first() -> None:
    truth = np.array([0] * 5 + [1] * 3 + [2] * 3)
    guess = np.array([0, 0, 1, 1, 2, 1, 1, 0, 2, 2, 2])
    pairs = confusions(score_head(truth, guess, ("a", "b", "c")))
    assert [(pair.truth, pair.said, pair.count, pair.pictures) for pair in pairs] == [
        ("a", "b", 2, 5),
        ("b", "a", 1, 3),
        ("a", "c", 1, 5),
    ]


def test_pairs_as_frequent_and_as_large_stand_in_the_order_of_their_names() -> None:
    truth = np.array([3, 3, 2, 2, 1, 1])
    guess = np.array([0, 3, 0, 2, 0, 1])
    pairs = confusions(score_head(truth, guess, ("a", "b", "c", "d")), 2)
    assert [(pair.truth, pair.said) for pair in pairs] == [("b", "a"), ("c", "a")]


def test_the_weakest_have_images_and_mistakes() -> None:
    names = ("a", "b", "c", "d")  # the fourth never occurs
    score = score_head(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 0]), names)
    assert [entry.name for entry in weakest_classes(score, 5)] == ["c", "a", "b"]
    assert [entry.name for entry in weakest_classes(score, 2)] == ["c", "a"]
    assert not weakest_classes(score_head(np.array([0, 1]), np.array([0, 1]), names), 5)


def test_of_classes_with_the_same_f1_the_lower_recall_is_the_weaker() -> None:
    truth = np.array([0, 1, 1, 2, 2, 2])
    guess = np.array([0, 1, 0, 2, 2, 2])
    score = score_head(truth, guess, ("z: found always", "a: found half the time", "right"))
    first, second, last = classes_by_f1(score)
    assert first.f1 == second.f1
    assert (first.name, second.name) == ("a: found half the time", "z: found always")
    assert last.name == "right"


class TestAbsentClasses:
    """Images of 2 of 4 classes, one of which was predicted to be a class without images."""

    truth, guess = np.array([0] * 5 + [1] * 5), np.array([0] * 5 + [1] * 4 + [2])

    def test_macro_f1_is_over_the_classes_that_have_images(self) -> None:
        score = score_head(self.truth, self.guess, ("a", "b", "c", "d"))
        second = 2 * 4 / (5 + 4)
        assert score.macro_f1 == pytest.approx((1 + second) / 2)
        assert score.macro_f1_seen == pytest.approx((1 + second) / 3)
        assert score.absent == ["c", "d"]
        assert score.as_dict()["macro_f1_seen"] == score.macro_f1_seen

    def test_the_interval_is_of_the_same_figure(self) -> None:
        score = score_head(self.truth, self.guess, ("a", "b", "c", "d"))
        low, high = macro_f1_interval(score.confusion)
        assert low < score.macro_f1 < high
        assert macro_f1_interval(np.pad(np.diag([30, 30]), (0, 8)))[0] > 0.9

    def test_reports_name_them_and_give_both_figures(self) -> None:
        names = ("a", "b", "c", "d")
        score = score_head(self.truth, self.guess, names)
        (note,) = absent_notes({"landmark": score})
        assert note == (
            "landmark: 2 of 4 have no image (c, d); macro F1 0.944 is over the others, and 0.630 "
            "over all that were predicted too"
        )
        full = score_head(np.arange(4), np.arange(4), names)
        assert absent_notes({"landmark": full}) == []
