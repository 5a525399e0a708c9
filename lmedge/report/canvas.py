"""Figures that become PNG or SVG files: no window, no global state, no warnings about fonts.

matplotlib is imported when a figure is drawn: a device may lack it.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import replacing
from .fonts import Fonts
from .palette import INK

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

    Axes = matplotlib.axes.Axes
    Figure = matplotlib.figure.Figure

DPI = 120
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "lmedge",  # the same figure gives the same bytes
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    ),
}


@contextlib.contextmanager
def drawing(
    path: Path, size: tuple[float, float], fonts: Fonts | None = None, dpi: int = DPI
) -> Iterator[Figure]:
    """Give an empty figure and write it to a file when the block ends without an error.

    Args:
        path: The file; its suffix, .png or .svg, is the format. An SVG is transparent.
        size: Width and height in inches.
        fonts: Fonts of the names in the figure.
        dpi: Pixels an inch of a PNG.

    Raises:
        ImportError: matplotlib is not installed.
        LmedgeError: The file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with (
        mpl.rc_context(),
        warnings.catch_warnings(),
        replacing(path) as temporary,
    ):
        # A control character or a letter without a glyph is drawn as a box; that is enough.
        warnings.simplefilter("ignore")
        mpl.rcdefaults()  # a matplotlibrc of the working folder could start a TeX
        mpl.rcParams.update({**STYLE, "font.family": list((fonts or Fonts()).families)})
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        if path.suffix == ".svg":
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            figure.savefig(temporary, format="svg", transparent=True, metadata=nothing)
        else:
            # Fitted to what was drawn: beside squares the layout cuts long rotated names.
            figure.savefig(temporary, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.12)
