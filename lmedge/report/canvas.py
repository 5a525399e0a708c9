"""A figure that becomes a PNG file: no window, no global state, no talk about fonts."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..files import replacing
from .fonts import Lettering

DPI = 120
# Okabe and Ito's colours, told apart by colour-blind people.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
}


@contextlib.contextmanager
def drawing(
    path: Path, size: tuple[float, float], lettering: Lettering | None = None
) -> Iterator[Figure]:
    """Give an empty figure of `size` inches, width first; on success it is written to `path`."""
    families = (lettering or Lettering()).families
    with (
        mpl.rc_context({**STYLE, "font.family": list(families)}),
        warnings.catch_warnings(),
        replacing(path) as temporary,
    ):
        # A control character or a letter without a glyph is drawn as a box; that is enough.
        warnings.simplefilter("ignore")
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        # Fitted to what was drawn: beside squares the layout cuts long rotated names.
        figure.savefig(temporary, dpi=DPI, bbox_inches="tight", pad_inches=0.12)
