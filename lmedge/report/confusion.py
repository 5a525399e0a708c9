"""Confusion matrices: cell by cell for a few dozen classes, as a map for hundreds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..evaluation.metrics import Confusion, HeadScore, confusions
from .canvas import drawing
from .fonts import Fonts
from .palette import BLUE, GREY, GRID, INK, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

DETAILED = 60  # classes whose names and counts can all be read
LISTED = 20  # confusions in the table
RIGHT, WRONG = BLUE, ORANGE
_LINE = f"{GRID}8C"  # translucent, for light and dark pages
_FAINT_LINE = f"{GRID}30"
_FAINTEST = 0.4  # opacity of the smallest share: one wrong image of fifty must be seen


def plot_confusion(
    score: HeadScore,
    title: str,
    path: Path,
    fonts: Fonts,
    groups: Sequence[str] | None = None,
) -> None:
    """Draw a confusion matrix as PNG: rows are the truth, columns the prediction.

    Up to DETAILED classes have their names and counts. More classes give a map with the names of
    the categories, or as many class names as fit, and the LISTED most frequent confusions.

    Args:
        score: The score of one head.
        title: Heading of the plot.
        path: File to write.
        fonts: Fonts of the names.
        groups: Category of each class. The classes are then sorted by it, and a line parts one
            category from the next.
    """
    matrix = _Matrix.of(score, fonts, groups)
    heading = (
        f"{title}\nmacro F1 {score.macro_f1:.3f}, accuracy {score.accuracy:.3f}, "
        f"{score.n} images, {len(score.classes)} classes"
    )
    if len(score.classes) <= DETAILED:
        _detailed(matrix, heading, path, fonts)
    else:
        _overview(matrix, heading, path, fonts, confusions(score, LISTED))


def draw_confusion(
    axes: Axes, score: HeadScore, fonts: Fonts, groups: Sequence[str] | None = None
) -> None:
    """Draw up to DETAILED classes cell by cell, small, on a transparent ground.

    Arguments are those of `plot_confusion`.
    """
    _draw_cells(axes, _Matrix.of(score, fonts, groups), fonts, points=7)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Matrix:
    """Counts in the order they are drawn, the names beside them, and the category of each."""

    counts: npt.NDArray[np.int64]
    names: tuple[str, ...]
    groups: tuple[str, ...]

    @classmethod
    def of(cls, score: HeadScore, fonts: Fonts, groups: Sequence[str] | None) -> _Matrix:
        names = [entry.name for entry in score.classes]
        above = list(groups) if groups is not None else [""] * len(names)
        order = sorted(range(len(names)), key=lambda i: (above[i], names[i]))
        return cls(
            counts=score.confusion[np.ix_(order, order)],
            names=tuple(fonts.label(names[i]) for i in order),
            groups=tuple(above[i] for i in order),
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

    @property
    def strengths(self) -> npt.NDArray[np.float64]:
        """Each share over the largest that its colour stands for, 0..1."""
        top = np.full(self.counts.shape, self.largest_wrong)
        np.fill_diagonal(top, 1.0)
        return np.asarray(self.shares / top, np.float64)

    def blocks(self) -> list[tuple[str, int, int]]:
        """Return name, first and last place of each category; nothing when there are none."""
        starts = [
            i for i in range(len(self.groups)) if not i or self.groups[i - 1] != self.groups[i]
        ]
        ends = [*(start - 1 for start in starts[1:]), len(self.groups) - 1]
        found = [(self.groups[a], a, b) for a, b in zip(starts, ends, strict=True)]
        return found if any(self.groups) else []


def _shades(colour: str) -> ListedColormap:
    """Return a colour in rising opacity, for any ground."""
    from matplotlib.colors import ListedColormap, to_rgb

    return ListedColormap([(*to_rgb(colour), a) for a in np.linspace(_FAINTEST, 1.0, 128)])


def _detailed(matrix: _Matrix, heading: str, path: Path, fonts: Fonts) -> None:
    count = len(matrix.names)
    side = 0.3 * count + 3.6 if count > 12 else 0.55 * count + 3.0
    with drawing(path, (max(6.5, side + 1.0), max(5.2, side)), fonts) as figure:
        axes = figure.subplots()
        _draw_cells(axes, matrix, fonts, points=8)
        axes.set_title(heading, loc="left")
        _draw_keys(figure, axes, matrix)


def _draw_cells(axes: Axes, matrix: _Matrix, fonts: Fonts, points: float) -> None:
    count = len(matrix.names)
    cells = np.zeros((count, count, 4))
    places, strengths = range(count), matrix.strengths
    for colour, where in ((RIGHT, np.eye(count, dtype=bool)), (WRONG, ~np.eye(count, dtype=bool))):
        shown = where & (matrix.counts > 0)
        cells[shown] = _shades(colour)(strengths[shown])
    axes.imshow(cells, interpolation="nearest")
    axes.set_xticks(places, matrix.names, rotation=90, fontsize=points)
    axes.set_yticks(places, matrix.names, fontsize=points)
    for row, column in np.argwhere(matrix.counts).tolist():
        axes.text(
            column,
            row,
            str(matrix.counts[row, column]),
            ha="center",
            va="center",
            fontsize=points,
            color="white" if strengths[row, column] > 0.6 else INK,
        )
    for name, first, last in matrix.blocks():
        middle = (first + last) / 2
        axes.text(count - 0.3, middle, fonts.label(name), fontsize=points, color=GREY, va="center")
    _draw_frame(axes, matrix)
    for edge in np.arange(0.5, count - 1):
        axes.axhline(edge, color=_FAINT_LINE, linewidth=0.5)
        axes.axvline(edge, color=_FAINT_LINE, linewidth=0.5)


def _overview(
    matrix: _Matrix, heading: str, path: Path, fonts: Fonts, worst: Sequence[Confusion]
) -> None:
    with drawing(path, (17, 11.5), fonts) as figure:
        axes, beside = figure.subplots(1, 2, width_ratios=(11, 5.2))
        count = len(matrix.names)
        rows, columns = np.nonzero(matrix.counts)
        strengths = matrix.strengths[rows, columns]
        # A cell of a matrix of thousands would be no dot at all; mistakes are looked for.
        cell = 8.6 * 72 / count
        for colour, where, least in (
            (RIGHT, rows == columns, 2.2),
            (WRONG, rows != columns, 3.5),
        ):
            axes.scatter(
                columns[where],
                rows[where],
                c=strengths[where],
                s=max(least, cell) ** 2,
                marker="s",
                linewidths=0,
                cmap=_shades(colour),
                vmin=0,
                vmax=1,
                zorder=3,
            )
        axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
        labels = _tick_labels(matrix, fonts)
        axes.set_xticks([at for at, _ in labels], [name for _, name in labels], rotation=90)
        axes.set_yticks([at for at, _ in labels], [name for _, name in labels])
        _draw_frame(axes, matrix)
        axes.set_title(heading, loc="left")
        _draw_keys(figure, axes, matrix)
        _draw_table(beside, worst, fonts)


def _tick_labels(matrix: _Matrix, fonts: Fonts) -> list[tuple[float, str]]:
    """Return place and name of each category, or of each class, as far as they do not overlap."""
    count = len(matrix.names)
    blocks = [((a + b) / 2, fonts.label(name)) for name, a, b in matrix.blocks()]
    wanted = blocks or [(float(i), name) for i, name in enumerate(matrix.names)]
    room = count / 55  # a line of text is about a 55th of the side
    labels: list[tuple[float, str]] = []
    for at, name in wanted:
        if not labels or at - labels[-1][0] >= room:
            labels.append((at, name))
    return labels


def _draw_frame(axes: Axes, matrix: _Matrix) -> None:
    blocks = matrix.blocks()
    width = 0.9 if len(blocks) <= 30 else 0.3
    for _, _, last in blocks[:-1]:
        axes.axhline(last + 0.5, color=_LINE, linewidth=width)
        axes.axvline(last + 0.5, color=_LINE, linewidth=width)
    axes.set(xlabel="predicted", ylabel="true")
    for side in axes.spines.values():
        side.set(visible=True, color=_LINE)


def _draw_keys(figure: Figure, axes: Axes, matrix: _Matrix) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    for colour, label, top in ((WRONG, "wrong", matrix.largest_wrong), (RIGHT, "right", 1.0)):
        key = ScalarMappable(Normalize(0, top), _shades(colour))
        bar = figure.colorbar(key, ax=axes, shrink=0.4, pad=0.01, aspect=30)
        bar.set_label(f"{label}: share of the row", fontsize=8)
        bar.outline.set_visible(False)


def _draw_table(axes: Axes, worst: Sequence[Confusion], fonts: Fonts) -> None:
    axes.axis("off")
    title = f"The {len(worst)} most frequent confusions" if worst else "No confusions"
    axes.text(0, 1.0, title, fontsize=11, va="bottom", transform=axes.transAxes)
    for number, pair in enumerate(worst):
        top = 0.985 - number / (LISTED + 1)
        here: dict[str, Any] = {"transform": axes.transAxes, "va": "top"}
        axes.text(0.0, top, f"{pair.count} of {pair.pictures}", fontsize=9, color=GREY, **here)
        truth, said = (fonts.label(name, 44) for name in (pair.truth, pair.said))
        axes.text(0.17, top, f"{truth}\ntaken for {said}", fontsize=9, **here)
