"""Details: against their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lmedge.benchmarks.details import Details, details_of
from lmedge.evaluation.intervals import wilson_interval
from lmedge.evaluation.metrics import score_head
from lmedge.taxonomy import Taxonomy

TAXONOMY = Taxonomy.from_pairs([("towers", "a"), ("towers", "b"), ("domes", "c"), ("domes", "d")])
# truth, joint probabilities of a, b, c, d
ROWS = [
    ("a", (0.9, 0.1, 0.0, 0.0)),
    ("a", (0.2, 0.7, 0.1, 0.0)),  # wrong, in the right category
    ("b", (0.1, 0.8, 0.1, 0.0)),
    ("c", (0.6, 0.3, 0.08, 0.02)),  # wrong, another category, but third
    ("d", (0.4, 0.3, 0.2, 0.1)),  # wrong, another category, fourth
    ("d", (0.0, 0.0, 0.05, 0.95)),
]


def details() -> Details:
    truth = np.array([TAXONOMY.landmarks.index(name) for name, _ in ROWS], np.int64)
    joint = np.array([values for _, values in ROWS], np.float32)
    said = joint.argmax(axis=1)
    parents = TAXONOMY.parent_index
    scores = {
        "landmark": score_head(truth, said, TAXONOMY.landmarks),
        "category": score_head(parents[truth], parents[said], TAXONOMY.categories),
    }
    paths = [Path(f"{number}.jpg") for number in range(len(ROWS))]
    category = np.stack(
        [joint[:, parents == index].sum(axis=1) for index in range(len(TAXONOMY.categories))], 1
    )
    alone = {"landmark": joint, "category": category}
    return details_of(paths, truth, joint, scores, alone, TAXONOMY)


def test_calibration_is_the_mean_of_its_bins() -> None:
    found = details().calibration["together"]
    assert sum(one.pictures for one in found.bins) == len(ROWS)
    expected = sum(one.share * abs(one.accuracy - one.confidence) for one in found.bins)
    assert found.error == pytest.approx(expected)
    assert details().calibration["landmark"] == found  # alone it says the same here


def test_every_class_of_both_heads_has_an_interval() -> None:
    found = details()
    assert found.recall_interval["a"] == wilson_interval(1, 2)
    assert found.category_recall_interval == {
        "domes": wilson_interval(1, 3),
        "towers": wilson_interval(3, 3),
    }


def test_top_three_and_the_category_of_what_is_wrong() -> None:
    assert details().top3 == pytest.approx(5 / 6)
    assert details().category_of_wrong == pytest.approx(1 / 3)


def test_weighted_f1_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, said = ["a", "a", "b", "c", "d", "d"], ["a", "b", "b", "a", "a", "d"]
    expected = metrics.f1_score(truth, said, average="weighted")
    assert details().weighted_f1["landmark"] == pytest.approx(expected)


def test_the_most_confident_mistake_comes_first() -> None:
    first, *_, last = details().mistakes
    assert (first.path.name, first.truth, first.said) == ("1.jpg", "a", "b")
    assert first.probability == pytest.approx(0.7)
    assert first.truth_probability == pytest.approx(0.2)
    assert last.path.name == "4.jpg"


def test_leaving_out_the_unsure_keeps_the_right() -> None:
    every, *_, fewest = details().rejection
    assert (every.coverage, every.accuracy) == (1.0, 0.5)
    assert fewest.coverage == 0.5
    assert fewest.accuracy == 1.0
    thresholds = [entry.threshold for entry in details().rejection]
    assert thresholds == sorted(set(thresholds))


def test_confusions_say_how_often() -> None:
    found = {(entry.truth, entry.said): entry for entry in details().confusions}
    assert set(found) == {("a", "b"), ("c", "a"), ("d", "a")}
    assert (found["d", "a"].count, found["d", "a"].pictures) == (1, 2)
