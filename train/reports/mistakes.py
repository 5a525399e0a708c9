"""The worst mistakes as pictures: the most confident wrong answer first."""

from __future__ import annotations

from pathlib import Path

from ..pictures import PictureStore
from .canvas import drawing
from .lettering import Lettering
from .predictions import Predictions
from .tiles import Tiles

SHOWN = 24
COLUMNS = 6
_SIDE = 2.3  # inches


def plot_mistakes(
    predictions: Predictions, store: PictureStore, title: str, path: Path, lettering: Lettering
) -> None:
    """Draw up to SHOWN wrongly classified pictures as PNG, as the network saw them.

    Above each picture stands what was said and its probability, then the truth and its.
    """
    wrong = predictions.mistakes()
    shown = wrong[:SHOWN]
    few = f", the {len(shown)} most confident ones" if len(shown) < len(wrong) else ""
    heading = f"{title}: {len(wrong)} mistakes in {len(predictions.truth)} pictures{few}"
    tiles = Tiles(len(shown), COLUMNS, _SIDE, _SIDE)
    with drawing(path, tiles.size, lettering) as figure:
        for axes, place in zip(tiles.panels(figure, heading), shown, strict=True):
            axes.imshow(store.prepared(predictions.entries[place]))
            tiles.caption(axes, predictions, place, lettering)
