"""The plots of a benchmark. matplotlib is imported when one is drawn: a device may lack it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lmedge import files

from .report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, INK = "#0072B2", "#D55E00", "#333333"  # Okabe and Ito; the ink of axes and text
LARGEST = 60  # classes of a confusion matrix that is still read


def draw_all(report: Report, folder: Path) -> dict[str, str]:
    """Write every plot as PNG and SVG below `folder`; return the SVG by name.

    In what is returned the ink is the colour of the text around it, light or dark.
    """
    found = {}
    for name, (size, draw) in _plots(report).items():
        found[name] = _embedded(save(folder / name, size, draw))
    return found


def save(path: Path, size: tuple[float, float], draw: Callable[[Axes], None]) -> str:
    """Write a plot of `size` inches as `path`.png and .svg; return the SVG.

    Raises ImportError without matplotlib.
    """
    png, svg = _render(size, draw)
    files.write_bytes(path.with_name(f"{path.name}.png"), png)
    files.write_text(path.with_name(f"{path.name}.svg"), svg)
    return svg


def _plots(report: Report) -> dict[str, tuple[tuple[float, float], Callable[[Axes], None]]]:
    plots: dict[str, tuple[tuple[float, float], Callable[[Axes], None]]] = {
        "latency": ((5.4, 2.4), lambda axes: _latency(report, axes)),
        "stages": ((5.4, 1.7), lambda axes: _stages(report, axes)),
        "threads": ((5.4, 1.9), lambda axes: _threads(report, axes)),
    }
    if report.accuracy is not None:
        classes = len(report.accuracy.scores.landmark.classes)
        side = min(9.0, 3.0 + 0.16 * classes)
        plots["rejection"] = ((5.4, 2.4), lambda axes: _rejection(report, axes))
        plots["reliability"] = ((3.6, 3.4), lambda axes: _reliability(report, axes))
        if classes <= LARGEST:
            plots["confusion"] = ((side, side), lambda axes: _confusion(report, axes))
    return plots


def _render(size: tuple[float, float], draw: Callable[[Axes], None]) -> tuple[bytes, str]:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.labelsize": 10,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "lmedge",
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
        ),
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.subplots())
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(png, format="png", dpi=120)
        figure.savefig(
            svg,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
        )
    return png.getvalue(), svg.getvalue()


def _embedded(svg: str) -> str:
    return (
        svg[svg.index("<svg") :].replace(INK.lower(), "currentColor").replace(INK, "currentColor")
    )


def _latency(report: Report, axes: Axes) -> None:
    samples = report.latency.samples / 1e6
    edge = float(np.percentile(samples, 99.5))
    bins = np.linspace(float(samples.min()), edge, 80)
    for column, (name, colour) in enumerate((("invoke", BLUE), ("frame to labels", ORANGE))):
        axes.hist(np.minimum(samples[:, column], edge), bins.tolist(), color=colour, alpha=0.75,
                  label=name)  # fmt: skip
    axes.set(xlabel="milliseconds (the slowest 0.5 % at the right edge)", ylabel="runs")
    axes.legend(frameon=False, fontsize=8)


def _stages(report: Report, axes: Axes) -> None:
    names = list(report.load.stages_ms)
    left = 0.0
    for name, colour in zip(names, (BLUE, "#56B4E9", ORANGE, "#009E73"), strict=True):
        width = report.load.stages_ms[name].p50
        axes.barh([0], [width], left=left, color=colour, label=f"{name} {width:.2f}")
        left += width
    axes.set(xlabel="milliseconds, median, one 640 x 480 JPEG", yticks=[])
    axes.legend(
        frameon=False,
        fontsize=8,
        ncols=4,
        handlelength=1.0,
        columnspacing=1.0,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
    )


def _threads(report: Report, axes: Axes) -> None:
    sweep = report.load.sweep
    names = [f"{entry.threads} threads" if entry.threads > 1 else "1 thread" for entry in sweep]
    bars = axes.barh(names, [entry.invoke_p50_ms for entry in sweep], color=BLUE)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="invoke, median milliseconds")


def _rejection(report: Report, axes: Axes) -> None:
    assert report.accuracy is not None
    points = report.accuracy.details.rejection
    axes.plot([p.coverage for p in points], [p.accuracy for p in points], "o-", color=BLUE)
    axes.set(xlabel="share of pictures answered, the least sure left out", ylabel="accuracy")
    axes.set_xlim(1.02, 0.45)
    low = min(p.accuracy for p in points)
    axes.set_ylim(max(0.0, low - 0.05), 1.005)
    axes.grid(color="#888888", alpha=0.3, lw=0.6)


def _reliability(report: Report, axes: Axes) -> None:
    assert report.accuracy is not None
    axes.plot([0, 1], [0, 1], color="#888888", lw=0.8)
    for name, colour in (("landmark", BLUE), ("category", ORANGE)):
        found = report.accuracy.details.calibration[name]
        axes.plot(
            [one.confidence for one in found.bins],
            [one.accuracy for one in found.bins],
            "o-",
            color=colour,
            label=f"{name}, error {found.error:.3f}",
            markersize=4,
        )
    axes.set(xlabel="probability", ylabel="share that is right", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=8)
    axes.grid(color="#888888", alpha=0.3, lw=0.6)


def _confusion(report: Report, axes: Axes) -> None:
    assert report.accuracy is not None
    score = report.accuracy.scores.landmark
    counts = score.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [entry.name for entry in score.classes]
    places = range(len(names))
    axes.set_xticks(places, names, rotation=90, fontsize=6)
    axes.set_yticks(places, names, fontsize=6)
    for i, j in np.argwhere(counts).tolist():
        colour = "white" if shares[i, j] > 0.5 else INK
        axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=5, color=colour)
    axes.set(xlabel="said", ylabel="true")
