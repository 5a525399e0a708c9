"""The plots of a benchmark. matplotlib is imported when one is drawn: a device may lack it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lmedge import files
from lmedge.evaluation.metrics import HeadScore
from lmedge.report.palette import INK, VARIABLES

from . import figures
from .lettering import PLAIN, families
from .report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST = 60  # classes of a confusion matrix that is still read
WIDTH = 3.9  # inches: on a phone's 330 pixels text of 8 points is then read without zooming
_FONT = re.compile(r"(font(?:-family)?:[^;\"]*?)'" + PLAIN + r"'[^;\"]*")

Draw = Callable[["Axes"], None]
Size = tuple[float, float]


def draw_all(report: Report, folder: Path) -> dict[str, str]:
    """Write every plot as PNG and SVG below `folder`; return the SVG by name.

    In what is returned colours are variables of the page, light or dark, and the ink is that of
    the text around it.
    """
    names = (
        []
        if report.accuracy is None
        else [entry.name for entry in report.accuracy.scores["landmark"].classes]
    )
    fonts = families(names)
    return {
        name: embedded(save(folder / name, size, draw, fonts))
        for name, (size, draw) in _plots(report).items()
    }


def save(path: Path, size: Size, draw: Draw, fonts: Sequence[str] = (PLAIN,)) -> str:
    """Write a plot of `size` inches as `path`.png and .svg; return the SVG.

    Raises ImportError without matplotlib.
    """
    png, svg = _render(size, draw, fonts)
    files.write_bytes(path.with_name(f"{path.name}.png"), png)
    files.write_text(path.with_name(f"{path.name}.svg"), svg)
    return svg


def confused(report: Report) -> tuple[str, HeadScore] | None:
    """Return the head whose confusion matrix can be read, the landmark before the category."""
    if report.accuracy is None:
        return None
    for name, score in report.accuracy.scores.items():
        if len(score.classes) <= LARGEST:
            return name, score
    return None


def matrix_inches(score: HeadScore) -> float:
    """Return the side of a confusion matrix whose names are legible."""
    return min(11.5, 2.4 + 0.17 * len(score.classes))


def _plots(report: Report) -> dict[str, tuple[Size, Draw]]:
    plots: dict[str, tuple[Size, Draw]] = {
        "latency": ((WIDTH, 2.3), lambda axes: figures.latency(report, axes)),
        "stages": ((WIDTH, 1.5), lambda axes: figures.stages(report, axes)),
        "threads": (
            (WIDTH, 0.6 + 0.3 * len(report.load.sweep)),
            lambda axes: figures.threads(report, axes),
        ),
    }
    if report.accuracy is not None:
        plots["reliability"] = ((WIDTH, 4.4), lambda axes: figures.reliability(report, axes))
        plots["rejection"] = ((WIDTH, 2.6), lambda axes: figures.rejection(report, axes))
    if (found := confused(report)) is not None:
        side = matrix_inches(found[1])
        plots["confusion"] = ((side, side), lambda axes: figures.confusion(found[1], axes))
    return plots


def _render(size: Size, draw: Draw, fonts: Sequence[str]) -> tuple[bytes, str]:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.labelsize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "font.family": list(fonts),
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "lmedge",
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
        ),
    }
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # said once, by `families`
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.subplots())
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(png, format="png", dpi=150)
        figure.savefig(
            svg,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
        )
    return png.getvalue(), svg.getvalue()


def embedded(svg: str) -> str:
    """Return the image alone, in the colours and the font of the page around it."""
    svg = svg[svg.index("<svg") :]
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour.lower(), variable).replace(colour, variable)
    return _FONT.sub(r"\1var(--font)", svg)
