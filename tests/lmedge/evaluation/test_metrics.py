"""Confusions and weak classes, in an order of their own."""

from __future__ import annotations

import numpy as np

from lmedge.evaluation.metrics import classes_by_f1, confusions, score_head, weakest_classes


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
