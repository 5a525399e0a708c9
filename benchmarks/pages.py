"""The files of a benchmark: report.json and CSV always, pages and plots where they can be drawn."""

from __future__ import annotations

import base64
import csv
import io
import logging
from pathlib import Path

import click
import cv2
import numpy as np

from lmedge import files
from lmedge.errors import DataError
from lmedge.evaluation.metrics import ClassScore, classes_by_f1
from lmedge.image import read_image
from lmedge.report.pages import render

from .details import Mistake
from .report import Report

THUMBNAIL = 288  # pixels of the longer side: twice what a page shows, for dense screens
_log = logging.getLogger(__name__)


def write_report(report: Report, folder: Path) -> list[str]:
    """Write everything below `folder` and return the names. Raises LmedgeError when that fails."""
    report.write(folder / "report.json")
    report.write_samples(folder / "samples.csv")
    files.write_text(folder / "report.csv", as_csv(report))
    names = ["report.json", "report.csv", "samples.csv"]
    try:
        import jinja2
        import matplotlib as mpl
    except ImportError as error:
        _log.info("no pages and plots without %s: pip install 'lmedge[report]'", error.name)
        return names
    _log.debug("jinja2 %s, matplotlib %s", jinja2.__version__, mpl.__version__)
    return [*names, *_write_pages(report, folder)]


def _write_pages(report: Report, folder: Path) -> list[str]:
    from .plots import confused, draw_all, matrix_inches

    found = confused(report)
    plots = draw_all(report, folder / "plots")
    mistakes = report.accuracy.details.mistakes if report.accuracy else ()
    for name in ("report.html", "report.md"):
        page = render(
            name,
            report=report,
            classes=_classes(report),
            plots=plots,
            confused=found[0] if found else None,
            matrix_inches=0.0 if found is None else matrix_inches(found[1]),
            images=[(one, _thumbnail(one), _place(one, report)) for one in mistakes],
        )
        files.write_text(folder / name, page)
    return ["report.html", "report.md", "plots/"]


def _classes(report: Report) -> list[tuple[str, ClassScore, tuple[float, float]]]:
    """Return (head, class score, recall interval) of every class that has images."""
    if report.accuracy is None:
        return []
    scores, details = report.accuracy.scores, report.accuracy.details
    heads = (
        ("landmark", scores["landmark"], details.recall_interval),
        ("category", scores["category"], details.category_recall_interval),
    )
    return [
        (head, entry, intervals[entry.name])
        for head, score, intervals in heads
        for entry in classes_by_f1(score)
    ]


def _thumbnail(mistake: Mistake) -> str | None:
    """Return a data URL of the image, smaller, or None when it is gone."""
    try:
        image = read_image(mistake.path, THUMBNAIL)
    except DataError:
        return None
    scale = THUMBNAIL / max(image.shape[:2])
    if scale < 1:
        image = np.asarray(
            cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    bgr = np.ascontiguousarray(image[..., ::-1])
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def _place(mistake: Mistake, report: Report) -> str:
    """Return where the image lies below the folder of the data, fit to be shown."""
    path = mistake.path
    if report.data is not None and path.is_relative_to(report.data.path):
        path = path.relative_to(report.data.path)
    return click.format_filename(path)


def as_csv(report: Report) -> str:
    """Return one figure a row: section, name, value; floats with six significant digits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("section", "name", "value"))
    for section, values in report.as_dict().items():
        writer.writerows(_flat(section, "", values))
    return stream.getvalue()


def _flat(section: str, name: str, value: object) -> list[tuple[str, str, object]]:
    inside: list[tuple[str, object]]
    if isinstance(value, dict):
        inside = [(str(key), entry) for key, entry in value.items()]
    elif isinstance(value, list | tuple):
        inside = [(str(number), entry) for number, entry in enumerate(value)]
    else:
        shown = "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
        return [(section, name, shown)]
    rows = []
    for key, entry in inside:
        rows += _flat(section, f"{name}.{key}" if name else key, entry)
    return rows
