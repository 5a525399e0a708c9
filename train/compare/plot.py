"""Plot of a comparison: a dot and its interval for each setting, and the single runs."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lmedge.report.canvas import drawing
from lmedge.report.palette import BLUE, GREY, ORANGE

from .summary import HEADS, ComparisonSummary
from .table import names_of


def plot_comparison(summary: ComparisonSummary, path: Path) -> None:
    """Plot macro F1 of both heads, a row a setting, as PNG."""
    names, rows = names_of(summary), summary.rows
    with drawing(path, (9.5, 1.5 + 0.42 * len(rows))) as figure:
        panels = figure.subplots(1, len(HEADS), sharey=True)
        places = range(len(rows), 0, -1)
        for panel, head in zip(panels, HEADS, strict=True):
            for place, row in zip(places, rows, strict=True):
                scores, found = row.scores[head], row.estimates[head]
                panel.plot(scores, [place] * len(scores), ".", color=GREY, alpha=0.45, ms=5)
                if found.low is not None and found.high is not None:
                    panel.plot([found.low, found.high], [place] * 2, color=BLUE, lw=1.6)
                panel.plot(found.mean, place, "o", color=BLUE, ms=6)
                if row.published:
                    panel.plot(row.published[head], place, "D", color=ORANGE, ms=5, mfc="none")
            panel.set(title=f"{head}, macro F1", ylim=(0.4, len(rows) + 0.6))
            panel.set_xlim(right=1.005)
            panel.grid(axis="x", color="#DDDDDD", lw=0.6)
            panel.set_axisbelow(True)
        panels[0].set_yticks(list(places), names)
        _legend(figure, summary)


def _legend(figure: Figure, summary: ComparisonSummary) -> None:
    entries = [
        Line2D([], [], color=BLUE, marker="o", ms=6, lw=1.6, label="mean, 95 % interval"),
        Line2D([], [], color=GREY, marker=".", ms=5, lw=0, alpha=0.6, label="one run"),
    ]
    if any(row.published for row in summary.rows):
        entries.append(
            Line2D([], [], color=ORANGE, marker="D", mfc="none", ms=5, lw=0, label="published")
        )
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), frameon=False)
