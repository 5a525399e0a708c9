"""Precision, recall and F1 of every class: as a table to read, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping

import numpy as np

from ..evaluation.metrics import ClassScore, HeadScore, confusions
from ..evaluation.scoring import Scores
from ..harmless import harmless, write_rows
from .terminal import first_names

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
LISTED = 20  # confusions below a table


def report_text(scores: Scores, title: str) -> str:
    """Return the classification report of both heads and their most frequent confusions."""
    tables = [_head_text(score, f"{head}: {title}") for head, score in scores.items()]
    notes = [f"{harmless(note)}\n" for note in absent_notes(scores)]
    return "\n".join([*tables, *notes])


def absent_notes(scores: Mapping[str, HeadScore]) -> list[str]:
    """Return a line for each head that has classes without images, with both macro F1."""
    return [
        f"{head}: {len(score.absent)} of {len(score.classes)} have no image "
        f"({first_names(score.absent)}); macro F1 {score.macro_f1:.3f} is over the others, and "
        f"{score.macro_f1_seen:.3f} over all that were predicted too"
        for head, score in scores.items()
        if score.absent and score.n
    ]


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
            write_rows(writer, [row])
    return stream.getvalue()


def classification_report(score: HeadScore) -> str:
    """Return the table that `sklearn.metrics.classification_report` writes, byte by byte.

    It covers the classes that occur in the truth or among the predictions.
    """
    involved = score.confusion.sum(axis=0) + score.confusion.sum(axis=1) > 0
    seen = [entry for entry, one in zip(score.classes, involved.tolist(), strict=True) if one]
    if not seen:
        return "no images\n"
    names = [harmless(entry.name) for entry in seen]
    width = max(len("weighted avg"), *map(len, names))
    heading = "".join(f" {name:>9}" for name in ("precision", "recall", "f1-score", "support"))
    rows = [
        _row(width, name, _figures(entry), entry.support)
        for name, entry in zip(names, seen, strict=True)
    ]
    weights = [entry.support for entry in seen]
    averages = [
        f"{'accuracy':>{width}}  {'':>9} {'':>9} {score.accuracy:>9.3f} {score.n:>9}",
        _row(width, "macro avg", _mean(seen, [1] * len(seen)), score.n),
        _row(width, "weighted avg", _mean(seen, weights), score.n),
    ]
    return "\n".join([f"{'':>{width}} {heading}", "", *rows, "", *averages, ""])


def _head_text(score: HeadScore, title: str) -> str:
    lines = [harmless(title), "", classification_report(score)]
    pairs = confusions(score, LISTED)
    if pairs:
        lines.append("most frequent confusions")
        lines += [
            f"  {p.count} of {p.pictures}  {harmless(p.truth)} taken for {harmless(p.said)}"
            for p in pairs
        ]
        lines.append("")
    return "\n".join(lines)


def _row(width: int, name: str, figures: Iterable[float], support: int) -> str:
    return f"{name:>{width}} " + "".join(f" {value:>9.3f}" for value in figures) + f" {support:>9}"


def _figures(entry: ClassScore) -> tuple[float, float, float]:
    return entry.precision, entry.recall, entry.f1


def _mean(seen: Iterable[ClassScore], weights: list[int]) -> list[float]:
    figures = np.array([_figures(entry) for entry in seen])
    return [float(value) for value in np.average(figures, axis=0, weights=weights)]
