"""Precision, recall and F1 of every class: scikit-learn's report, and the same as CSV."""

from __future__ import annotations

import csv
import io

import numpy as np
from sklearn.metrics import classification_report

from lmedge.evaluation.metrics import HeadScore, confusions
from lmedge.evaluation.scoring import Scores

COLUMNS = (
    "head",
    "number",
    "class",
    "precision",
    "recall",
    "f1",
    "support",
    "predicted",
    "most_taken_for",
    "times",
)
LISTED = 20


def report_text(scores: Scores, title: str) -> str:
    """Return the classification report of both heads and their most frequent confusions."""
    return "\n".join(_head_text(score, f"{head}: {title}") for head, score in scores.items())


def report_csv(scores: Scores) -> str:
    """Return one line a class of both heads; `number` counts a head's classes from 1."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for head, score in scores.items():
        worst = {pair.truth: pair for pair in reversed(confusions(score))}
        predicted = score.confusion.sum(axis=0)
        for number, entry in enumerate(score.classes, start=1):
            pair = worst.get(entry.name)
            figures = (f"{value:.6g}" for value in (entry.precision, entry.recall, entry.f1))
            most = (pair.said, pair.count) if pair else ("", 0)
            row = (head, number, entry.name, *figures, entry.support, predicted[number - 1], *most)
            writer.writerow(row)
    return stream.getvalue()


def _head_text(score: HeadScore, title: str) -> str:
    lines = [title, "", _classic(score)]
    pairs = confusions(score, LISTED)
    if pairs:
        lines.append("most frequent confusions")
        lines += [f"  {p.count} of {p.pictures}  {p.truth} taken for {p.said}" for p in pairs]
        lines.append("")
    return "\n".join(lines)


def _classic(score: HeadScore) -> str:
    """Let scikit-learn write it, over the classes that macro F1 is the mean of."""
    rows, columns = np.nonzero(score.confusion)
    times = score.confusion[rows, columns]
    seen = sorted({*rows.tolist(), *columns.tolist()})
    if not seen:
        return "no images\n"
    return str(
        classification_report(
            np.repeat(rows, times),
            np.repeat(columns, times),
            labels=seen,
            target_names=[score.classes[i].name for i in seen],
            digits=3,
            zero_division=0,
        )
    )
