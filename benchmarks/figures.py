"""What is drawn of a benchmark, one function a figure; matplotlib comes with the axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmedge.evaluation.calibration_error import ReliabilityBin
from lmedge.evaluation.intervals import wilson_interval
from lmedge.evaluation.metrics import HeadScore
from lmedge.report.palette import BLUE, GREEN, GREY, INK, ORANGE, SKY

from .lettering import shortened
from .report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STAGE_COLOURS = (BLUE, SKY, ORANGE, GREEN)
_SHOWN = 0.18  # the least opacity of a cell that holds an image


def latency(report: Report, axes: Axes) -> None:
    """Draw the histogram of all measured times."""
    samples = report.latency.samples / 1e6
    edge = float(np.percentile(samples, 99.5))
    bins = np.linspace(float(samples.min()), edge, 60).tolist()
    for column, (name, colour) in enumerate((("invoke", BLUE), ("frame to labels", ORANGE))):
        times = np.minimum(samples[:, column], edge)
        axes.hist(times, bins, color=colour, alpha=0.75, label=name)
    axes.set(xlabel="milliseconds (last bar: all beyond)", ylabel="runs")
    _legend(axes, columns=2)


def stages(report: Report, axes: Axes) -> None:
    """Draw the stages of one JPEG behind each other."""
    left = 0.0
    for (name, spread), colour in zip(report.load.stages_ms.items(), _STAGE_COLOURS, strict=True):
        label = f"{name} {spread.p50:.2f}"
        axes.barh([0], [spread.p50], left=left, color=colour, label=label)
        left += spread.p50
    axes.set(xlabel="milliseconds, median", yticks=[])
    _legend(axes, columns=2)


def threads(report: Report, axes: Axes) -> None:
    """Draw the thread sweep."""
    sweep = report.load.sweep
    names = [f"{entry.threads} threads" if entry.threads > 1 else "1 thread" for entry in sweep]
    bars = axes.barh(names, [entry.invoke_p50_ms for entry in sweep], height=0.6, color=BLUE)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.set(xlabel="invoke, median milliseconds")


def rejection(report: Report, axes: Axes) -> None:
    """Draw accuracy against the share of images that are answered."""
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


def reliability(report: Report, axes: Axes) -> None:
    """Draw how often answers are right by how sure they are: the area of a dot is their number.

    The answer shown to a user is the landmark decoded together with the category; its bins have
    Wilson's 95 % intervals. The heads alone are drawn behind it. No line joins the dots: between
    bins of one image each it would only go up and down.
    """
    assert report.accuracy is not None
    found = report.accuracy.details.calibration
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
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
        # Of its own, for the legend: there dots of different areas would look like different marks.
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


def confusion(score: HeadScore, axes: Axes) -> None:
    """Draw true against said, as shares of the row; what is empty is transparent."""
    from matplotlib.colors import to_rgb

    counts = score.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = np.empty((*counts.shape, 4))
    cells[..., :3] = to_rgb(BLUE)
    cells[..., 3] = np.where(counts > 0, np.maximum(shares, _SHOWN), 0.0)
    axes.imshow(cells, interpolation="nearest")
    names = [shortened(entry.name) for entry in score.classes]
    places = range(len(names))
    axes.set_xticks(places, names, rotation=90, fontsize=7)
    axes.set_yticks(places, names, fontsize=7)
    for i, j in np.argwhere(counts).tolist():
        colour = "white" if shares[i, j] > 0.8 else INK
        axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=6.5, color=colour)
    axes.set(xlabel="said", ylabel="true")
    for edge in np.arange(0.5, len(names) - 1, 1.0):
        axes.axhline(edge, color=GREY, lw=0.2, alpha=0.5)
        axes.axvline(edge, color=GREY, lw=0.2, alpha=0.5)


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
    axes.grid(color=GREY, alpha=0.3, lw=0.6)
    axes.set_axisbelow(True)
