"""The table of `lmedge predict`, fitted to the terminal before the first line is printed."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.cells import cell_len, chop_cells

from ..classifier import Candidate, Classifier, Prediction
from ..harmless import harmless
from ..rejection import UNKNOWN

_HEADINGS = ("image", "landmark", "category")
_PERCENT = 6  # cells of "100.0%"
_GAP = "  "


def _width() -> int | None:
    """Return the cells of a line on a terminal, None if the output is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionTable:
    """Column widths in cells, chosen before the first image is classified."""

    image: int
    landmark: int
    category: int

    @classmethod
    def fit(cls, images: Sequence[Path], classifier: Classifier) -> PredictionTable:
        """Choose column widths in cells; the path gives way first on a narrow terminal."""
        width = _width()
        longest = max(cell_len(harmless(path)) for path in images)
        taxonomy = classifier.taxonomy
        wanted = [max(longest, len(_HEADINGS[0]))] + [
            max(cell_len(harmless(name)) for name in (heading, *names))
            for heading, names in (
                (_HEADINGS[1], (*taxonomy.landmarks, UNKNOWN)),
                (_HEADINGS[2], taxonomy.categories),
            )
        ]
        if width is not None:
            free = width - 4 * len(_GAP) - 2 * _PERCENT
            for column, least in ((0, 20), (1, 12), (2, 8)):
                excess = sum(wanted) - free
                wanted[column] = max(min(least, wanted[column]), wanted[column] - max(0, excess))
        return cls(image=wanted[0], landmark=wanted[1], category=wanted[2])

    def heading(self) -> str:
        """Return the line above the images."""
        gap = _GAP + " " * _PERCENT + _GAP
        return (
            _pad(_HEADINGS[0], self.image)
            + _GAP
            + _pad(_HEADINGS[1], self.landmark)
            + gap
            + _HEADINGS[2]
        )

    def lines(self, path: Path, prediction: Prediction) -> Iterator[str]:
        """Yield the line of an image, then one for each other candidate.

        The line of an unknown image has UNKNOWN in place of labels. If several candidates are
        listed, all of them follow.
        """
        name = _pad(_cut_left(harmless(path), self.image), self.image)
        if not prediction.known:
            yield name + _GAP + click.style(_cut_right(UNKNOWN, self.landmark), dim=True)
            yield from map(self._candidate, prediction.top if len(prediction.top) > 1 else ())
            return
        best = Candidate(
            landmark=prediction.landmark,
            category=prediction.category,
            probability=prediction.landmark_probability,
        )
        yield (
            name
            + _GAP
            + click.style(
                _pad(_cut_right(harmless(best.landmark), self.landmark), self.landmark), bold=True
            )
            + _GAP
            + f"{best.probability:{_PERCENT}.1%}"
            + _GAP
            + _pad(_cut_right(harmless(best.category), self.category), self.category)
            + _GAP
            + f"{prediction.category_probability:{_PERCENT}.1%}"
        )
        yield from map(self._candidate, prediction.top[1:])

    def _candidate(self, other: Candidate) -> str:
        return (
            " " * self.image
            + _GAP
            + _pad(_cut_right(harmless(other.landmark), self.landmark), self.landmark)
            + _GAP
            + f"{other.probability:{_PERCENT}.1%}"
            + _GAP
            + _cut_right(harmless(other.category), self.category)
        )


def _pad(text: str, cells: int) -> str:
    return text + " " * (cells - cell_len(text))


def _cut_right(text: str, cells: int) -> str:
    return text if cell_len(text) <= cells else chop_cells(text, cells - 1)[0] + "…"


def _cut_left(text: str, cells: int) -> str:
    """Cut a path at its front, since its end distinguishes images."""
    while cell_len(text) > cells:
        text = "…" + text[2:]
    return text
