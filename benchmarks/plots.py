"""Plots of a benchmark: those of a page, and macro F1 against latency of several files."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lmedge.evaluation.calibration_error import ReliabilityBin
from lmedge.evaluation.intervals import wilson_interval
from lmedge.report.confusion import DETAILED, draw_confusion
from lmedge.report.fonts import Fonts, choose_fonts
from lmedge.report.pages import draw_for_page
from lmedge.report.palette import BLUE, GREEN, GRID, ORANGE, SKY

from .accuracy import Accuracy
from .report import Report
from .several import BenchmarkComparison, ComparedFile

if TYPE_CHECKING:
    from lmedge.report.canvas import Axes

WIDTH = 3.9  # inches: on a phone's 330 pixels text of 8 points is then read without zooming
_BESIDE = 0.9  # inches for the names of the categories
_STAGE_COLOURS = (BLUE, SKY, ORANGE, GREEN)


def draw_report(report: Report, folder: Path) -> dict[str, str]:
    """Write every plot as PNG and SVG below `folder`; return the SVG for a page, by name."""
    plots = {
        "latency": (2.3, _draw_latency),
        "stages": (1.5, _draw_stages),
        "threads": (0.6 + 0.3 * len(report.load.sweep), _draw_threads),
    }
    if report.accuracy is not None:
        plots |= {"reliability": (4.4, _draw_reliability), "rejection": (2.6, _draw_rejection)}
    drawn = {
        name: draw_for_page(folder / name, (WIDTH, height), functools.partial(draw, report))
        for name, (height, draw) in plots.items()
    }
    if report.accuracy is not None and (head := readable_head(report.accuracy)) is not None:
        drawn["confusion"] = _draw_matrix(report.accuracy, head, folder / "confusion")
    return drawn


def draw_pareto(compared: BenchmarkComparison, path: Path) -> str:
    """Write macro F1 against the median time as PNG and SVG; return the SVG for a page."""
    return draw_for_page(path, (5.4, 3.4), functools.partial(_draw_pareto, compared))


def readable_head(accuracy: Accuracy) -> str | None:
    """Return the head whose confusion matrix can be read, the landmark before the category."""
    fits = (head for head, score in accuracy.scores.items() if len(score.classes) <= DETAILED)
    return next(fits, None)


def matrix_size(accuracy: Accuracy, head: str) -> tuple[float, float]:
    """Return width and height in inches of a confusion matrix whose names are legible."""
    side = min(11.5, 2.4 + 0.17 * len(accuracy.scores[head].classes))
    return side + (_BESIDE if head == "landmark" else 0.0), side


def _draw_matrix(accuracy: Accuracy, head: str, path: Path) -> str:
    taxonomy = accuracy.taxonomy
    groups = list(taxonomy.hierarchy().values()) if head == "landmark" else None

    def draw(axes: Axes, fonts: Fonts) -> None:
        draw_confusion(axes, accuracy.scores[head], fonts, groups)

    return draw_for_page(path, matrix_size(accuracy, head), draw, choose_fonts(taxonomy))


def _draw_latency(report: Report, axes: Axes, _: Fonts) -> None:
    """Draw the histogram of all measured times."""
    samples = report.latency.samples / 1e6
    edge = float(np.percentile(samples, 99.5))
    bins = np.linspace(float(samples.min()), edge, 60).tolist()
    for column, (name, colour) in enumerate((("invoke", BLUE), ("frame to labels", ORANGE))):
        times = np.minimum(samples[:, column], edge)
        axes.hist(times, bins, color=colour, alpha=0.75, label=name)
    axes.set(xlabel="milliseconds (last bar: all beyond)", ylabel="runs")
    _legend(axes, columns=2)


def _draw_stages(report: Report, axes: Axes, _: Fonts) -> None:
    """Draw the stages of one JPEG one after the other."""
    left = 0.0
    for (name, spread), colour in zip(report.load.stages_ms.items(), _STAGE_COLOURS, strict=True):
        label = f"{name} {spread.p50:.2f}"
        axes.barh([0], [spread.p50], left=left, color=colour, label=label)
        left += spread.p50
    axes.set(xlabel="milliseconds, median", yticks=[])
    _legend(axes, columns=2)


def _draw_threads(report: Report, axes: Axes, _: Fonts) -> None:
    """Draw the time of an invoke by the number of threads."""
    sweep = report.load.sweep
    names = [f"{entry.threads} threads" if entry.threads > 1 else "1 thread" for entry in sweep]
    bars = axes.barh(names, [entry.invoke_p50_ms for entry in sweep], height=0.6, color=BLUE)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.set(xlabel="invoke, median milliseconds")


def _draw_rejection(report: Report, axes: Axes, _: Fonts) -> None:
    """Draw accuracy against the share of images that keep their prediction."""
    assert report.accuracy is not None
    points = report.accuracy.details.rejection
    axes.plot(
        [p.coverage for p in points], [p.accuracy for p in points], "o-", color=BLUE, markersize=4
    )
    axes.set(xlabel="share of images answered, the surest first", ylabel="accuracy")
    axes.set_xlim(1.02, min(0.45, *(p.coverage - 0.05 for p in points)))
    low = min(p.accuracy for p in points)
    # A step of a thousandth is no cliff: the axis spans at least a tenth.
    axes.set_ylim(max(0.0, min(low - 0.02, 0.9)), 1.005)
    _grid(axes)


def _draw_reliability(report: Report, axes: Axes, _: Fonts) -> None:
    """Draw accuracy by confidence; the area of a dot is its share of the images.

    A user is shown the landmark decoded together with the category; its bins have Wilson's 95 %
    intervals. The heads alone are drawn behind it. No line joins the dots, since between bins of
    one image each it would only go up and down.
    """
    assert report.accuracy is not None
    found = report.accuracy.details.calibration
    axes.plot([0, 1], [0, 1], color=GRID, lw=1, ls="--")
    for layer, (name, what, colour, marker) in enumerate(
        (
            ("together", "landmark, together", BLUE, "o"),
            ("landmark", "landmark alone", SKY, "^"),
            ("category", "category alone", ORANGE, "s"),
        )
    ):
        bins = found[name].bins
        sure, right = [one.confidence for one in bins], [one.accuracy for one in bins]
        if name == "together":
            axes.errorbar(
                sure, right, _whiskers(bins), fmt="none", ecolor=colour, elinewidth=1, alpha=0.6
            )
        areas = [10 + 90 * one.share for one in bins]
        axes.scatter(
            sure, right, areas, color=colour, marker=marker, clip_on=False, zorder=5 - layer
        )
        # Dots of one area in the legend: different areas would look like different marks.
        label = f"{what}, ECE {found[name].error:.3f}"
        axes.plot([], [], marker, color=colour, markersize=5, label=label)
    axes.set(xlabel="probability of the answer", ylabel="share that is right")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    _legend(axes, columns=1)
    _grid(axes)


def _whiskers(bins: tuple[ReliabilityBin, ...]) -> tuple[list[float], list[float]]:
    ends = [wilson_interval(round(one.accuracy * one.pictures), one.pictures) for one in bins]
    below = [max(0.0, one.accuracy - low) for one, (low, _) in zip(bins, ends, strict=True)]
    above = [max(0.0, high - one.accuracy) for one, (_, high) in zip(bins, ends, strict=True)]
    return below, above


def _draw_pareto(compared: BenchmarkComparison, axes: Axes, _: Fonts) -> None:
    """Draw macro F1 against the median time, and the front of the best of both.

    The area of a dot is the size of its file.
    """
    largest = max(entry.bytes for entry in compared.entries)
    named = zip(compared.titles(), compared.entries, strict=True)
    ordered = sorted(named, key=lambda one: one[1].p50_ms)
    front: list[ComparedFile] = []  # nothing is both faster and more often right
    for _name, entry in ordered:
        if not front or (entry.macro_f1 or 0.0) > (front[-1].macro_f1 or 0.0):
            front.append(entry)
    axes.plot(
        [one.p50_ms for one in front],
        [one.macro_f1 or 0.0 for one in front],
        "--",
        color=GRID,
        lw=1,
        drawstyle="steps-post",
    )
    for number, (title, entry) in enumerate(ordered):
        assert entry.macro_f1 is not None
        area = 40 + 500 * entry.bytes / largest
        axes.scatter([entry.p50_ms], [entry.macro_f1], s=area, color=BLUE, alpha=0.5)
        label = f"{title}\n{entry.bytes / 1e6:.1f} MB"
        # Above and below in turn: neighbours would write over each other.
        axes.annotate(
            label,
            (entry.p50_ms, entry.macro_f1),
            fontsize=8,
            ha="center",
            xytext=(0, -14 if number % 2 else 14),
            textcoords="offset points",
            va="top" if number % 2 else "bottom",
        )
    axes.margins(0.3, 0.35)
    axes.set(xlabel="frame to labels, median milliseconds", ylabel="landmark macro F1")
    axes.grid(color=GRID, alpha=0.3, lw=0.6)


def _legend(axes: Axes, columns: int) -> None:
    axes.legend(
        frameon=False,
        fontsize=8,
        ncols=columns,
        handlelength=1.0,
        columnspacing=1.2,
        borderpad=0.0,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.02),
    )


def _grid(axes: Axes) -> None:
    axes.grid(color=GRID, alpha=0.3, lw=0.6)
    axes.set_axisbelow(True)
