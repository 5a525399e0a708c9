"""The classic report, as text and CSV, agrees with the scores."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from lmedge.evaluation.scoring import score_probabilities
from lmedge.train.reports.per_class import report_csv, report_text
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
    assert TAXONOMY.landmarks[3] not in text
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
    from lmedge.evaluation.metrics import score_head
    from lmedge.train.reports import per_class

    score = score_head(np.array([0, 1]), np.array([0, 1]), ("accuracy", "macro avg"))
    assert per_class._classic(score).count("macro avg") == 2
