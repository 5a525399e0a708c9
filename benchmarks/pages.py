"""Files of a benchmark: JSON and CSV always; pages and plots if jinja2 and matplotlib are there."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import itertools
import logging
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import click
import cv2
import numpy as np

from lmedge import files
from lmedge.errors import DataError
from lmedge.evaluation.metrics import ClassScore, classes_by_f1
from lmedge.harmless import write_rows
from lmedge.image import read_image
from lmedge.report.failures import logging_failure
from lmedge.report.pages import INSTALL, missing_package, render

from .details import Mistake
from .plots import draw_pareto, draw_report, matrix_size, readable_head
from .report import Report
from .several import BenchmarkComparison, ComparedFile

THUMBNAIL = 288  # pixels of the longer side: twice what a page shows, for dense screens
TEMPLATES = resources.files(__package__) / "templates"
# What this or an earlier version writes, so that no file stays beside a report that is not its own.
_PLOTS = ("latency", "stages", "threads", "reliability", "rejection", "confusion")
_OF_A_REPORT = (
    *(f"report.{suffix}" for suffix in ("csv", "html", "md")),
    "samples.csv",
    *(f"plots/{name}.{suffix}" for name in _PLOTS for suffix in ("png", "svg")),
)
_OF_A_COMPARISON = (
    *(f"comparison.{suffix}" for suffix in ("csv", "html", "md")),
    *("samples.csv", "pareto.png", "pareto.svg"),
)
_log = logging.getLogger(__name__)


def write_report(
    report: Report, folder: Path, sent: Mapping[Path, Path] | None = None
) -> list[str]:
    """Write everything below `folder`, together; return the names.

    `sent` are the images of a remote host by their paths there; no others are then shown. Files of
    an earlier report are replaced or removed. Raises LmedgeError if that fails. If the page or a
    plot fails, that is logged, and the figures are written.
    """
    with files.replacing_together(folder, "report.json", _OF_A_REPORT) as staged:
        return _write_files(report, staged, sent)


def _write_files(report: Report, folder: Path, sent: Mapping[Path, Path] | None) -> list[str]:
    report.write(folder / "report.json")
    report.write_samples(folder / "samples.csv")
    files.write_text(folder / "report.csv", _report_csv(report))
    names = ["report.json", "report.csv", "samples.csv"]
    if (missing := missing_package()) is not None:
        _log.info("no pages and plots without %s: %s", missing, INSTALL)
        return names
    with logging_failure(Path("report.html")):
        _write_pages(report, folder, sent)
    return [*names, *_there(folder, "report.html", "report.md", "plots/")]


def _there(folder: Path, *names: str) -> list[str]:
    return [name for name in names if (folder / name).exists()]


def _write_pages(report: Report, folder: Path, sent: Mapping[Path, Path] | None) -> None:
    accuracy = report.accuracy
    head = None if accuracy is None else readable_head(accuracy)
    plots = draw_report(report, folder / "plots")
    mistakes = accuracy.details.mistakes if accuracy else ()
    for name in ("report.html", "report.md"):
        page = render(
            TEMPLATES,
            name,
            report=report,
            classes=_classes(report),
            plots=plots,
            confused=head,
            matrix_inches=matrix_size(accuracy, head)[0] if accuracy and head else 0.0,
            images=[(one, _thumbnail(one.path, sent), _place(one, report)) for one in mistakes],
        )
        files.write_text(folder / name, page)


def _classes(report: Report) -> list[tuple[str, ClassScore, tuple[float, float]]]:
    """Return (head, class score, recall interval) of every class that has images."""
    if report.accuracy is None:
        return []
    details = report.accuracy.details
    intervals = {
        "landmark": details.recall_interval,
        "category": details.category_recall_interval,
    }
    return [
        (head, entry, intervals[head][entry.name])
        for head, score in report.accuracy.scores.items()
        for entry in classes_by_f1(score)
    ]


def _thumbnail(path: Path, sent: Mapping[Path, Path] | None) -> str | None:
    """Return a data URL of the image, smaller, or None when it is gone."""
    try:
        image = read_image(path if sent is None else sent[path], THUMBNAIL)
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
    """Return the place of the image below the folder of the data, fit to be shown."""
    path = mistake.path
    if report.data is not None and path.is_relative_to(report.data.path):
        path = path.relative_to(report.data.path)
    return click.format_filename(path)


def write_comparison(compared: BenchmarkComparison, folder: Path) -> list[str]:
    """Write comparison.json, comparison.csv and samples.csv, together; return the names.

    Where matplotlib and jinja2 are, also a page, the same to paste, and the plot of F1 against
    latency; if one of them fails, that is logged. Raises LmedgeError when a file cannot be written.
    """
    with files.replacing_together(folder, "comparison.json", _OF_A_COMPARISON) as staged:
        return _write_compared(compared, staged)


def _write_compared(compared: BenchmarkComparison, folder: Path) -> list[str]:
    files.write_json(folder / "comparison.json", compared.as_dict())
    files.write_text(folder / "comparison.csv", _comparison_csv(compared))
    files.write_text(folder / "samples.csv", _samples_csv(compared))
    names = ["comparison.json", "comparison.csv", "samples.csv"]
    if (missing := missing_package()) is not None:
        _log.info("no page and plot without %s: %s", missing, INSTALL)
        return names
    with logging_failure(Path("comparison.html")):
        _write_comparison_pages(compared, folder)
    pages = ("pareto.png", "pareto.svg", "comparison.html", "comparison.md")
    return [*names, *_there(folder, *pages)]


def _write_comparison_pages(compared: BenchmarkComparison, folder: Path) -> None:
    titled = list(zip(compared.titles(), compared.entries, strict=True))
    plot = draw_pareto(compared, folder / "pareto") if compared.pictures else None
    for name in ("comparison.html", "comparison.md"):
        page = render(
            TEMPLATES, name, compared=compared, rows=titled, machine=compared.machine, pareto=plot
        )
        files.write_text(folder / name, page)


def _report_csv(report: Report) -> str:
    """Return one figure a row: section, name, value; floats with six significant digits.

    The cells of the confusion matrices stay in report.json.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("section", "name", "value"))
    sections = report.as_dict()
    if sections["accuracy"] is not None:
        del sections["accuracy"]["matrices"]
    for section, values in sections.items():
        write_rows(writer, _flat(section, "", values))
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


def _comparison_csv(compared: BenchmarkComparison) -> str:
    """Return a file in a runtime a row; intervals are two columns."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = [field.name for field in dataclasses.fields(ComparedFile)]
    pairs = {name for name in names if name.endswith("interval")}
    columns = [[f"{name}_low", f"{name}_high"] if name in pairs else [name] for name in names]
    writer.writerow(itertools.chain(*columns))
    for entry in compared.entries:
        cells: list[object] = []
        for name in names:
            value = getattr(entry, name)
            cells += (value or (None, None)) if name in pairs else [value]
        write_rows(writer, [[f"{one:.6g}" if isinstance(one, float) else one for one in cells]])
    return stream.getvalue()


def _samples_csv(compared: BenchmarkComparison) -> str:
    """Return every measured time in milliseconds, a column for each, in the order taken."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    write_rows(writer, [compared.titles()])
    writer.writerows([f"{one:.6f}" for one in row] for row in (compared.samples / 1e6).tolist())
    return stream.getvalue()
