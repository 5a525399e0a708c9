"""The picture of `--explain`: signal to noise along the graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lmedge.files import replacing

if TYPE_CHECKING:
    from .explain import Noise

# Okabe and Ito's colours, told apart by colour-blind people.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
STYLE = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}


def draw(path: Path, found: Sequence[Noise], marked: Sequence[Noise]) -> None:
    """Write a PNG of all tensors, in the order of the graph; `marked` ones are numbered."""
    with mpl.rc_context(STYLE), replacing(path) as temporary:
        figure = Figure(figsize=(9.0, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        places = [one.place for one in found]
        axes.plot(places, [one.rounding for one in found], ".", color=GREY, ms=4,
                  label="rounding of this tensor alone")  # fmt: skip
        axes.plot(places, [one.snr for one in found], color=BLUE, lw=1.2,
                  label="with all errors before it")  # fmt: skip
        for rank, one in enumerate(marked, 1):
            axes.plot(one.place, one.snr, "o", color=ORANGE, ms=5, zorder=3)
            axes.annotate(str(rank), (one.place, one.snr), textcoords="offset points",
                          xytext=(0, -12), ha="center", fontsize=8, color=ORANGE)  # fmt: skip
        names = "   ".join(f"{rank} {one.tensor}" for rank, one in enumerate(marked, 1))
        axes.set_title(f"Worst: {names}", fontsize=8, loc="left", color=ORANGE)
        axes.set_ylim(min(0.0, *(one.snr for one in found)) - 4, None)
        axes.set_xlabel("tensor, in the order of the graph")
        axes.set_ylabel("signal to noise, dB")
        axes.legend(frameon=False, loc="upper right")
        figure.savefig(temporary, dpi=120, format="png")
