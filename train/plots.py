"""What people look at after training: curves of every phase, and who is taken for whom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from lmedge.files import replacing
from lmedge.metrics import HeadScore

from .run import HistoryRow

# Okabe and Ito's colours, told apart by colour-blind people.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"


def plot_curves(rows: Sequence[HistoryRow], path: Path) -> None:
    """Draw loss and accuracy over the epochs of all phases, one behind the other, as PNG."""
    epochs = np.arange(1, len(rows) + 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    _curve(left, epochs, [row.loss for row in rows], "training", BLUE)
    _curve(left, epochs, [row.val_loss for row in rows], "validation", ORANGE)
    _curve(right, epochs, [row.accuracy for row in rows], "training accuracy", BLUE)
    _curve(right, epochs, [row.val_accuracy for row in rows], "validation accuracy", ORANGE)
    _curve(right, epochs, [row.val_macro_f1 for row in rows], "validation macro F1", GREEN)
    left.set(title="Loss", xlabel="epoch", yscale="log")
    right.set(title="Accuracy and macro F1", xlabel="epoch", ylim=(0, 1.02))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        _phases(axes, rows)
        axes.legend(fontsize=8, loc="best")
    _save(figure, path)


def _curve(axes: Any, epochs: Any, values: list[float], label: str, colour: str) -> None:
    axes.plot(epochs, values, color=colour, label=label, linewidth=1.6)


def _phases(axes: Any, rows: Sequence[HistoryRow]) -> None:
    names = [row.phase for row in rows]
    for index, name in enumerate(names):
        if index == 0 or names[index - 1] != name:
            axes.axvline(index + 0.5, color="0.5", linewidth=0.8, linestyle=":")
            axes.annotate(
                name,
                (index + 0.7, 0.03),
                xycoords=("data", "axes fraction"),
                rotation=90,
                fontsize=7,
                color="0.35",
                va="bottom",
            )


def plot_confusion(score: HeadScore, title: str, path: Path) -> None:
    """Draw a confusion matrix as PNG: rows are the truth, columns what was said."""
    names = [entry.name for entry in score.classes]
    count = len(names)
    side = min(24.0, max(5.0, 0.32 * count + 3))
    figure, axes = plt.subplots(figsize=(side + 1, side), layout="constrained")
    rates = score.confusion / np.maximum(score.confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(rates, cmap="Blues", vmin=0, vmax=1)
    step = max(1, count // 60)
    ticks = range(0, count, step)
    axes.set_xticks(ticks, [names[i] for i in ticks], rotation=90, fontsize=8)
    axes.set_yticks(ticks, [names[i] for i in ticks], fontsize=8)
    if count <= 60:
        for row, column in zip(*np.nonzero(score.confusion), strict=True):
            colour = "white" if rates[row, column] > 0.5 else "black"
            axes.text(
                column,
                row,
                str(score.confusion[row, column]),
                ha="center",
                va="center",
                fontsize=7,
                color=colour,
            )
    axes.set(xlabel="said", ylabel="truth", title=f"{title}: macro F1 {score.macro_f1:.3f}")
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the row")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)
