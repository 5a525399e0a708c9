"""Who is taken for whom: cell by cell for a few dozen classes, as a map for hundreds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize

from lmedge.evaluation.metrics import Confusion, HeadScore, confusions
from lmedge.report.canvas import GREY, drawing
from lmedge.report.fonts import Lettering

DETAILED = 60  # classes whose names and counts can all be read
LISTED = 20  # confusions in the table
_LINE = "0.75"


def plot_confusion(
    score: HeadScore,
    title: str,
    path: Path,
    lettering: Lettering,
    groups: Sequence[str] | None = None,
) -> None:
    """Draw a confusion matrix as PNG: rows are the truth, columns what was said.

    `groups` names the category of each class: classes are then sorted by it, and a line parts one
    from the next. Up to DETAILED classes every name and count is drawn; above that a map, the
    names of the categories (or as many class names as fit), and a table of the LISTED most
    frequent confusions.
    """
    matrix = _Matrix.of(score, lettering, groups)
    heading = (
        f"{title}\nmacro F1 {score.macro_f1:.3f}, accuracy {score.accuracy:.3f}, "
        f"{score.n} images, {len(score.classes)} classes"
    )
    if len(score.classes) <= DETAILED:
        _detailed(matrix, heading, path, lettering)
    else:
        _overview(matrix, heading, path, lettering, confusions(score, LISTED))


@dataclasses.dataclass(frozen=True)
class _Matrix:
    """Counts in the order they are drawn, the names beside them, and the category of each."""

    counts: npt.NDArray[np.int64]
    names: tuple[str, ...]
    groups: tuple[str, ...]

    @classmethod
    def of(cls, score: HeadScore, lettering: Lettering, groups: Sequence[str] | None) -> _Matrix:
        names = [entry.name for entry in score.classes]
        above = list(groups) if groups is not None else [""] * len(names)
        order = sorted(range(len(names)), key=lambda i: (above[i], names[i]))
        return cls(
            score.confusion[np.ix_(order, order)],
            tuple(lettering.shown(names[i]) for i in order),
            tuple(above[i] for i in order),
        )

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Each count as a share of its row."""
        totals = np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        return np.asarray(self.counts / totals, np.float64)

    @property
    def largest_wrong(self) -> float:
        """The largest share that was taken for one other class, rounded up to a tenth."""
        shares = self.shares
        np.fill_diagonal(shares, 0)
        return max(0.1, math.ceil(10 * float(shares.max(initial=0)) - 1e-9) / 10)

    def blocks(self) -> list[tuple[str, int, int]]:
        """Return name, first and last place of each category; nothing when there are none."""
        starts = [
            i for i in range(len(self.groups)) if not i or self.groups[i - 1] != self.groups[i]
        ]
        ends = [*(start - 1 for start in starts[1:]), len(self.groups) - 1]
        found = [(self.groups[a], a, b) for a, b in zip(starts, ends, strict=True)]
        return found if any(self.groups) else []


def _colours(name: str) -> ListedColormap:
    """A map whose lowest colour is told from white: one wrong image of fifty must be seen."""
    return ListedColormap(mpl.colormaps[name](np.linspace(0.25, 1.0, 128)))


RIGHT, WRONG = _colours("Blues"), _colours("Oranges")


def _detailed(matrix: _Matrix, heading: str, path: Path, lettering: Lettering) -> None:
    count = len(matrix.names)
    side = 0.3 * count + 3.6 if count > 12 else 0.55 * count + 3.0
    with drawing(path, (max(6.5, side + 1.0), max(5.2, side)), lettering) as figure:
        axes = figure.subplots()
        diagonal = np.eye(count, dtype=bool)
        for colours, where in ((RIGHT, diagonal), (WRONG, ~diagonal)):
            shown = np.ma.masked_where(~where | (matrix.counts == 0), matrix.shares)
            top = 1.0 if colours is RIGHT else matrix.largest_wrong
            axes.imshow(shown, cmap=colours, vmin=0, vmax=top, interpolation="nearest")
        axes.set_xticks(range(count), matrix.names, rotation=90)
        axes.set_yticks(range(count), matrix.names)
        _cells(axes, matrix)
        for name, first, last in matrix.blocks():
            place = (count - 0.3, (first + last) / 2)
            axes.text(*place, lettering.shown(name), fontsize=8, color=GREY, va="center")
        _frame(axes, matrix, heading)
        axes.set_xticks(np.arange(1, count) - 0.5, minor=True)
        axes.set_yticks(np.arange(1, count) - 0.5, minor=True)
        axes.grid(which="minor", color="0.92", linewidth=0.5)
        axes.tick_params(which="minor", length=0)
        _keys(figure, axes, matrix)


def _cells(axes: Any, matrix: _Matrix) -> None:
    shares = matrix.shares
    top = np.full(shares.shape, matrix.largest_wrong)
    np.fill_diagonal(top, 1.0)
    for row, column in zip(*np.nonzero(matrix.counts), strict=True):
        axes.text(
            column,
            row,
            str(matrix.counts[row, column]),
            ha="center",
            va="center",
            fontsize=8,
            color="white" if shares[row, column] > 0.55 * top[row, column] else "black",
        )


def _overview(
    matrix: _Matrix, heading: str, path: Path, lettering: Lettering, worst: Sequence[Confusion]
) -> None:
    with drawing(path, (17, 11.5), lettering) as figure:
        axes, beside = figure.subplots(1, 2, width_ratios=(11, 5.2))
        count = len(matrix.names)
        rows, columns = np.nonzero(matrix.counts)
        shares = matrix.shares[rows, columns]
        # A cell of a matrix of thousands would be no dot at all; mistakes are looked for.
        cell = 8.6 * 72 / count
        kinds = (
            (RIGHT, rows == columns, 2.2, 1.0),
            (WRONG, rows != columns, 3.5, matrix.largest_wrong),
        )
        for colours, where, least, top in kinds:
            axes.scatter(
                columns[where],
                rows[where],
                c=shares[where],
                s=max(least, cell) ** 2,
                marker="s",
                linewidths=0,
                cmap=colours,
                vmin=0,
                vmax=top,
                zorder=3,
            )
        axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
        labels = _tick_labels(matrix, lettering)
        axes.set_xticks([at for at, _ in labels], [name for _, name in labels], rotation=90)
        axes.set_yticks([at for at, _ in labels], [name for _, name in labels])
        _frame(axes, matrix, heading)
        _keys(figure, axes, matrix)
        _table(beside, worst, lettering)


def _tick_labels(matrix: _Matrix, lettering: Lettering) -> list[tuple[float, str]]:
    """Return place and name of each category, or of each class, as far as they do not overlap."""
    count = len(matrix.names)
    blocks = [((a + b) / 2, lettering.shown(name)) for name, a, b in matrix.blocks()]
    wanted = blocks or [(float(i), name) for i, name in enumerate(matrix.names)]
    room = count / 55  # a line of text is about a 55th of the side
    labels: list[tuple[float, str]] = []
    for at, name in wanted:
        if not labels or at - labels[-1][0] >= room:
            labels.append((at, name))
    return labels


def _frame(axes: Any, matrix: _Matrix, heading: str) -> None:
    blocks = matrix.blocks()
    width = 0.9 if len(blocks) <= 30 else 0.3
    for _, _, last in blocks[:-1]:
        axes.axhline(last + 0.5, color=_LINE, linewidth=width)
        axes.axvline(last + 0.5, color=_LINE, linewidth=width)
    axes.set(xlabel="said", ylabel="truth")
    axes.set_title(heading, loc="left")
    for side in axes.spines.values():
        side.set(visible=True, color=_LINE)


def _keys(figure: Any, axes: Any, matrix: _Matrix) -> None:
    kinds = ((WRONG, "wrong", matrix.largest_wrong), (RIGHT, "right", 1.0))
    for colours, label, top in kinds:
        key = ScalarMappable(Normalize(0, top), colours)
        bar = figure.colorbar(key, ax=axes, shrink=0.4, pad=0.01, aspect=30)
        bar.set_label(f"{label}: share of the row", fontsize=8)
        bar.outline.set_visible(False)


def _table(axes: Any, worst: Sequence[Confusion], lettering: Lettering) -> None:
    axes.axis("off")
    title = f"The {len(worst)} most frequent confusions" if worst else "No confusions"
    axes.text(0, 1.0, title, fontsize=11, va="bottom", transform=axes.transAxes)
    for number, pair in enumerate(worst):
        top = 0.985 - number / (LISTED + 1)
        here = {"transform": axes.transAxes, "va": "top"}
        axes.text(0.0, top, f"{pair.count} of {pair.pictures}", fontsize=9, color=GREY, **here)
        truth, said = (lettering.shown(name, 44) for name in (pair.truth, pair.said))
        axes.text(0.17, top, f"{truth}\ntaken for {said}", fontsize=9, **here)
