"""Loss, accuracy and macro F1 over the epochs of every phase, one panel a phase."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import ticker

from lmedge.report.canvas import drawing
from lmedge.report.palette import BLUE, GREEN, GREY, ORANGE

from ..history import HistoryRow
from ..run import Run

FINE_TUNING = "fine-tuning"  # in the name of every phase that trains layers of the backbone
_UNFROZEN = "#FFF4D6"


def unfrozen(run: Run) -> dict[str, str]:
    """Return the trained part of the backbone, by phase; other phases train heads alone."""
    starts = run.recipe.fine_tune.start
    found: dict[str, str] = {}
    for phase in {row.phase for row in run.history() if FINE_TUNING in row.phase}:
        # Of several phases one after another each is numbered, from 1.
        number = int(phase.rpartition("-")[2]) if len(starts) > 1 else 1
        found[phase] = "every layer" if run.weights == "none" else f"from {starts[number - 1]}"
    return found


def plot_curves(
    rows: Sequence[HistoryRow], unfrozen: Mapping[str, str], path: Path, *, folds: bool = False
) -> None:
    """Draw the history as PNG: a column a phase, loss above, accuracy and macro F1 below.

    `unfrozen` names the part of the backbone that a phase trains. A phase that is not in it trains
    heads on a frozen backbone. `folds`: the validation figures are means of fold networks. Curves
    of an empty validation part are left out.
    """
    phases = [
        (name, list(group)) for name, group in itertools.groupby(rows, key=lambda row: row.phase)
    ]
    width = max(7.0, 0.9 + 3.4 * len(phases))
    with drawing(path, (width, 6.4)) as figure:
        panels = figure.subplots(2, len(phases), sharey="row", sharex="col", squeeze=False)
        before = False
        for column, (name, group) in enumerate(phases):
            upper, lower = panels[:, column]
            _draw(upper, lower, group)
            freed = unfrozen.get(name)
            _mark(upper, lower, freed, begins=freed is not None and not before)
            before = freed is not None
            state = f"backbone unfrozen: {freed}" if freed else "backbone frozen"
            upper.set_title(f"{name}\n{state}")
            lower.set_xlabel("epoch of the phase")
        panels[0, 0].set(ylabel="loss")
        if _positive(rows):
            _logarithmic(panels[0])
        panels[1, 0].set(ylabel="accuracy, macro F1", ylim=_lowest(rows))
        _legend(figure, panels[1, 0], folds=folds)


def _draw(upper: Any, lower: Any, rows: Sequence[HistoryRow]) -> None:
    epochs = [row.epoch for row in rows]
    mark = "o" if len(rows) == 1 else ""  # a line needs two points
    both: dict[str, Any] = {"linewidth": 1.6, "marker": mark}
    upper.plot(epochs, [row.loss for row in rows], color=BLUE, label="training", **both)
    lower.plot(epochs, [row.accuracy for row in rows], color=BLUE, label="training", **both)
    if _validated(rows):
        both["color"] = ORANGE
        upper.plot(epochs, [row.val_loss for row in rows], label="validation", **both)
        lower.plot(epochs, [row.val_accuracy for row in rows], label="validation", **both)
        macro = [row.val_macro_f1 for row in rows]
        both.update(color=GREEN, linestyle="--")
        lower.plot(epochs, macro, label="validation macro F1", **both)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
        axes.margins(x=0.03)
        if len(rows) == 1:
            axes.set_xlim(epochs[0] - 0.5, epochs[0] + 0.5)
        axes.xaxis.set_major_locator(ticker.MaxNLocator("auto", integer=True, min_n_ticks=1))


def _mark(upper: Any, lower: Any, freed: str | None, *, begins: bool) -> None:
    """Tint the panels of a phase that trains the backbone, with a heavy edge if it is the first."""
    if freed is None:
        return
    for axes in (upper, lower):
        axes.set_facecolor(_UNFROZEN)
        if begins:
            axes.spines["left"].set(linewidth=2.5, color=ORANGE)


def _logarithmic(row: Sequence[Any]) -> None:
    for axes in row:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(ticker.NullLocator())


def _legend(figure: Any, axes: Any, *, folds: bool) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(
        "training: augmented images, loss with label smoothing; validation: without either"
        + (", mean of the fold networks" if folds else ""),
        fontsize=8,
        color=GREY,
    )


def _validated(rows: Sequence[HistoryRow]) -> bool:
    """Return True if there was a validation part: without one every figure is zero."""
    return any(row.val_loss or row.val_accuracy or row.val_macro_f1 for row in rows)


def _positive(rows: Sequence[HistoryRow]) -> bool:
    return any(row.loss > 0 and math.isfinite(row.loss) for row in rows)


def _lowest(rows: Sequence[HistoryRow]) -> tuple[float, float]:
    """Return the limits of the lower axis: from 0, or closer if all is far above it."""
    values = [row.accuracy for row in rows]
    if _validated(rows):
        values += [value for row in rows for value in (row.val_accuracy, row.val_macro_f1)]
    low = min((value for value in values if math.isfinite(value)), default=0.0)
    return (0.0 if low < 0.5 else 0.45), 1.02
