"""Images side by side, with the prediction and the truth above each."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lmedge.report.canvas import drawing
from lmedge.report.fonts import Fonts
from lmedge.report.palette import BLUE, GREY, ORANGE

from ..data.store import ImageStore
from .predictions import Predictions

SHOWN = 24
COLUMNS = 6
_SIDE = 2.3  # inches


def plot_mistakes(
    predictions: Predictions, store: ImageStore, title: str, path: Path, fonts: Fonts
) -> None:
    """Draw up to SHOWN wrongly classified images as PNG, as the network saw them.

    Above each image stand the truth and the prediction with their probabilities.
    """
    wrong = predictions.mistakes()
    shown = wrong[:SHOWN]
    few = f", the {len(shown)} most confident ones" if len(shown) < len(wrong) else ""
    heading = f"{title}: {len(wrong)} mistakes in {len(predictions.truth)} images{few}"
    tiles = Tiles(len(shown), COLUMNS, _SIDE, _SIDE)
    with drawing(path, tiles.size, fonts) as figure:
        for axes, place in zip(tiles.panels(figure, heading), shown, strict=True):
            axes.imshow(store.prepared(predictions.entries[place]))
            tiles.caption(axes, predictions, place, fonts)


_ABOVE = 0.42  # inches, two lines of text
_GAP = 0.12
_HEADING = 0.35
_CHARACTER = 0.058  # inches, about, at the size of the text
_POINTS = 7.5


@dataclasses.dataclass(frozen=True)
class Tiles:
    """`count` images in rows of `columns`, each of `width` x `height` inches."""

    count: int
    columns: int
    width: float
    height: float

    @property
    def size(self) -> tuple[float, float]:
        """Inches of the figure that holds them, and the heading."""
        columns = max(1, min(self.columns, self.count))
        rows = math.ceil(self.count / columns)
        return (
            max(7.5, columns * (self.width + _GAP)),
            _HEADING + rows * (self.height + _ABOVE + _GAP),
        )

    def panels(self, figure: Figure, heading: str) -> list[Any]:
        """Return the empty axes of the images, row by row, under a heading."""
        width, height = self.size
        figure.text(0, 1 - 0.1 / height, heading, fontsize=9, color=GREY, va="top")
        return [
            self._panel(figure, place % self.columns, place // self.columns, width, height)
            for place in range(self.count)
        ]

    def _panel(self, figure: Figure, column: int, row: int, width: float, height: float) -> Any:
        left = column * (self.width + _GAP)
        bottom = height - _HEADING - (row + 1) * (self.height + _ABOVE) - row * _GAP
        box = (left / width, bottom / height, self.width / width, self.height / height)
        axes = figure.add_axes(box)
        axes.axis("off")
        return axes

    def caption(self, axes: Any, predictions: Predictions, place: int, fonts: Fonts) -> None:
        """Write the prediction for an image, the truth if it is another, and both probabilities."""
        guess, truth = int(predictions.predicted[place]), int(predictions.truth[place])
        lines = (
            [("predicted", truth, BLUE)]
            if guess == truth
            else [
                ("label", truth, BLUE),
                ("predicted", guess, ORANGE),
            ]
        )
        longest = int(self.width / _CHARACTER) - len("predicted:   99.9 %")
        for number, (word, index, colour) in enumerate(lines):
            name = fonts.label(predictions.taxonomy.landmarks[index], longest)
            text = f"{word}: {name}  {percent(float(predictions.joint[place, index]))}"
            high = 1 + (0.05 + 0.16 * number) / self.height
            axes.text(0, high, text, color=colour, fontsize=_POINTS, transform=axes.transAxes)


def percent(share: float) -> str:
    """Return a percentage that is never rounded to certainty."""
    if share >= 0.9995:
        return ">99.9 %"
    return "<0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"
