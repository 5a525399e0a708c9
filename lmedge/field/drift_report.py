"""Files of a drift: JSON and CSV always; a page with plots if jinja2 and matplotlib are there."""

from __future__ import annotations

import csv
import functools
import io
import logging
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..harmless import write_rows
from ..report.fonts import Fonts, choose_fonts
from ..report.pages import INSTALL, draw_for_page, missing_package, render
from ..report.palette import BLUE, GREEN, GRID, ORANGE, SKY
from ..taxonomy import Taxonomy
from .drift import Drift
from .periods import FieldEstimate, FieldPeriod

if TYPE_CHECKING:
    from ..report.canvas import Axes

TEMPLATES = resources.files(__package__) / "templates"
SHOWN = 4  # landmarks that the plot of labels tells apart; the others are one
WIDTH = 4.4  # inches: text is then legible on a phone
_OLDER = ("drift.csv", "drift.html", "plots/*.png", "plots/*.svg")
_COLOURS = (BLUE, SKY, ORANGE, GREEN)
_log = logging.getLogger(__name__)


def write_drift(drift: Drift, taxonomy: Taxonomy, folder: Path) -> list[str]:
    """Write everything below `folder`, together; return the names.

    Raises:
        LmedgeError: A file cannot be written.
    """
    with files.replacing_together(folder, "drift.json", _OLDER) as staged:
        files.write_json(staged / "drift.json", drift.as_dict())
        files.write_text(staged / "drift.csv", _csv(drift))
        names = ["drift.json", "drift.csv"]
        if (missing := missing_package()) is not None:
            _log.info("no page and plots without %s: %s", missing, INSTALL)
            return names
        plots = _draw(drift, choose_fonts(taxonomy), staged / "plots")
        page = render(
            TEMPLATES,
            "drift.html",
            drift=drift,
            plots=plots,
            changes=drift.changes(),
            labels=most_shown(drift),
        )
        files.write_text(staged / "drift.html", page)
        return [*names, "drift.html", "plots/"]


def most_shown(drift: Drift) -> list[str]:
    """Return the landmarks of all periods, those that were predicted most often first."""
    total: dict[str, float] = {}
    for period in drift.periods:
        for name, share in period.labels.items():
            total[name] = total.get(name, 0.0) + share.value * period.images
    return sorted(total, key=lambda name: (-total[name], name))


def _csv(drift: Drift) -> str:
    """Return one figure a row: period, figure, label, value, both ends, images, bursts."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("period", "figure", "label", "value", "low", "high", "images", "bursts"))
    reference = [] if drift.reference is None else [drift.reference]
    for period in [*reference, *drift.periods]:
        for figure, label, one in _figures(period):
            numbers = [f"{value:.6g}" for value in (one.value, *one.interval)]
            write_rows(
                writer, [[period.name, figure, label, *numbers, period.images, period.bursts]]
            )
    return stream.getvalue()


def _figures(period: FieldPeriod) -> Iterator[tuple[str, str, FieldEstimate]]:
    yield "unknown", "", period.unknown
    if period.confidence is not None:
        yield "confidence", "", period.confidence
    for label, share in period.labels.items():
        yield "label", label, share


def _draw(drift: Drift, fonts: Fonts, folder: Path) -> dict[str, str]:
    """Write the plots as PNG and SVG; return the SVG for a page, by name."""
    plots = {"unknown": _draw_unknown, "confidence": _draw_confidence, "labels": _draw_labels}
    return {
        name: draw_for_page(
            folder / name, (WIDTH, 2.6), functools.partial(draw, drift), fonts=fonts
        )
        for name, draw in plots.items()
    }


def _draw_unknown(drift: Drift, axes: Axes, fonts: Fonts) -> None:
    before = None if drift.reference is None else drift.reference.unknown
    _over_time(axes, drift, [one.unknown for one in drift.periods], before)
    axes.set_ylabel("share of unknown images")


def _draw_confidence(drift: Drift, axes: Axes, fonts: Fonts) -> None:
    before = None if drift.reference is None else drift.reference.confidence
    _over_time(axes, drift, [one.confidence for one in drift.periods], before)
    axes.set_ylabel("mean probability")


def _over_time(
    axes: Axes, drift: Drift, values: Sequence[FieldEstimate | None], before: FieldEstimate | None
) -> None:
    if before is not None:
        axes.axhspan(*before.interval, color=SKY, alpha=0.3, linewidth=0)
        axes.axhline(before.value, color=BLUE, linestyle="--", linewidth=1)
    for place, one in enumerate(values):
        if one is not None:
            axes.plot([place, place], one.interval, color=ORANGE, linewidth=1.4)
            axes.plot(place, one.value, "o", color=ORANGE, markersize=4)
    _name_periods(axes, drift)
    axes.set_ylim(-0.03, 1.03)


def _draw_labels(drift: Drift, axes: Axes, fonts: Fonts) -> None:
    names = most_shown(drift)[:SHOWN]
    bottom = [0.0] * len(drift.periods)
    shares = [(fonts.label(name), [_value(one, name) for one in drift.periods]) for name in names]
    rest = [
        max(0.0, 1 - one.unknown.value - sum(_value(one, name) for name in names))
        for one in drift.periods
    ]
    unknown = [one.unknown.value for one in drift.periods]
    rows = zip(
        [*shares, ("others", rest), ("unknown", unknown)],
        [*_COLOURS[: len(names)], GRID, "none"],
        strict=True,
    )
    for (label, values), colour in rows:
        axes.bar(
            range(len(values)),
            values,
            bottom=bottom,
            color=colour,
            edgecolor=GRID,
            linewidth=0.6,
            width=0.8,
            label=label,
        )
        bottom = [low + value for low, value in zip(bottom, values, strict=True)]
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of images")
    _name_periods(axes, drift)


def _value(period: FieldPeriod, label: str) -> float:
    share = period.labels.get(label)
    return 0.0 if share is None else share.value


def _name_periods(axes: Axes, drift: Drift) -> None:
    names = [one.name for one in drift.periods]
    step = max(1, -(-len(names) // 6))
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=30, ha="right")
    axes.set_xlim(-0.6, len(names) - 0.4)
