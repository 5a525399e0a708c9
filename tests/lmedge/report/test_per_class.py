"""The classic report, as text and CSV, agrees with the scores."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from lmedge.evaluation.metrics import HeadScore, score_head
from lmedge.evaluation.scoring import score_probabilities
from lmedge.report.per_class import classification_report, report_csv, report_text
from tests.train.reports import fakes

TAXONOMY = fakes.taxonomy(4, 2)


def scores(truth: list[int], said: list[int]):
    landmark = np.eye(4, dtype=np.float32)[said] * 0.9 + 0.025
    category = np.eye(2, dtype=np.float32)[TAXONOMY.parent_index[said]]
    index = np.array(truth)
    indices = {"landmark": index, "category": TAXONOMY.parent_index[index]}
    return score_probabilities({"landmark": landmark, "category": category}, indices, TAXONOMY)


SCORES = scores([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0])  # the fourth never occurs


def test_the_text_is_scikit_learns_with_the_macro_f1_of_the_scores() -> None:
    text = report_text(SCORES, "test part")
    assert "precision    recall  f1-score   support" in text
    landmark, _, category = text.partition("category: test part")
    macro = [line for line in landmark.splitlines() if "macro avg" in line]
    assert float(macro[0].split()[4]) == pytest.approx(SCORES["landmark"].macro_f1, abs=5e-4)
    accuracy = [line for line in category.splitlines() if "accuracy" in line]
    assert float(accuracy[0].split()[1]) == pytest.approx(SCORES["category"].accuracy, abs=5e-4)
    assert TAXONOMY.landmarks[3] not in landmark
    assert f"landmark: 1 of 4 have no image ({TAXONOMY.landmarks[3]})" in text
    assert f"1 of 1  {TAXONOMY.landmarks[2]} taken for {TAXONOMY.landmarks[0]}" in text


def test_the_csv_has_a_line_a_class_of_both_heads() -> None:
    rows = list(csv.DictReader(io.StringIO(report_csv(SCORES))))
    assert [(row["head"], row["number"]) for row in rows] == [
        *(("landmark", str(number)) for number in (1, 2, 3, 4)),
        *(("category", str(number)) for number in (1, 2)),
    ]
    first = rows[0]
    assert first["class"] == TAXONOMY.landmarks[0]
    figures = [float(first[name]) for name in ("precision", "recall", "f1")]
    assert figures == pytest.approx([2 / 3, 2 / 3, 2 / 3], abs=1e-5)
    assert (first["support"], first["predicted"]) == ("3", "3")
    assert (first["most_taken_for"], first["times"]) == (TAXONOMY.landmarks[1], "1")
    assert (rows[1]["most_taken_for"], rows[1]["times"]) == ("", "0")


def test_a_landmark_may_be_called_like_a_line_of_the_report() -> None:
    score = score_head(np.array([0, 1]), np.array([0, 1]), ("accuracy", "macro avg"))
    assert classification_report(score).count("macro avg") == 2


def scikit_learns(score: HeadScore) -> str:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, said = np.nonzero(score.confusion)
    times = score.confusion[truth, said]
    seen = sorted({*truth.tolist(), *said.tolist()})
    return metrics.classification_report(
        np.repeat(truth, times),
        np.repeat(said, times),
        labels=seen,
        target_names=[score.classes[place].name for place in seen],
        digits=3,
        zero_division=0,
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_table_is_scikit_learns_byte_by_byte(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = tuple(f"class {number} {'of a long name' * (number % 2)}" for number in range(12))
    # some classes have no image, some are never predicted, some neither
    truth, said = rng.choice(9, 40), rng.choice([0, 1, 2, 5, 10], 40)
    said = np.where(rng.random(40) < 0.6, truth, said)
    score = score_head(truth, said, names)
    assert classification_report(score) == scikit_learns(score)
    everything_right = score_head(truth, truth, names)
    assert classification_report(everything_right) == scikit_learns(everything_right)


def test_without_images_the_table_says_so() -> None:
    nothing = score_head(np.zeros(0, np.int64), np.zeros(0, np.int64), ("a", "b"))
    assert classification_report(nothing) == "no images\n"
