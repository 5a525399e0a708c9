"""Table at the end of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from lmedge.harmless import harmless
from lmedge.report.terminal import HarmlessConsole

from .statistics import Estimate
from .summary import HEADS, ComparisonSummary, SettingSummary

FILE_COLUMNS = ("int8", "same %", "MB", "export")
FOLDED, WIDEST = 12, 1000  # characters: a setting's column at least, a table at the most


def names_of(summary: ComparisonSummary) -> list[str]:
    """Return a name for each setting, of the values in which it differs from the others."""
    columns = [row.setting.columns for row in summary.rows]
    names = list(dict.fromkeys(name for row in columns for name in row))
    telling = [n for n in names if len({row.get(n) for row in columns}) > 1] or names[:1]
    return [
        ", ".join(
            row[name] if name in names[:3] else f"{name}={row[name]}"
            for name in telling
            if name in row
        )
        for row in columns
    ]


def print_comparison(summary: ComparisonSummary, title: str) -> None:
    """Print a row a setting and the meaning of the marks; figures are never cut off."""
    rows, names = summary.rows, names_of(summary)
    with_files = any(row.int8 for row in rows)
    with_study = any(row.published for row in rows)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("setting", overflow="fold", min_width=FOLDED)
    for head in HEADS:
        table.add_column(f"{head} F1", justify="right", no_wrap=True)
    if with_study:
        table.add_column("published", justify="right", no_wrap=True)
    for heading in (*(FILE_COLUMNS if with_files else ()), "train", "params"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, (name, row) in enumerate(zip(names, rows, strict=True)):
        cells = [_score(row.estimates[head]) + _mark(summary, head, number) for head in HEADS]
        if with_study:
            figures = row.published
            cells.append(" / ".join(f"{figures[head]:.2f}" for head in HEADS) if figures else "")
        if with_files:
            int8 = row.int8
            cells.append(" / ".join(f"{int8[head].mean:.3f}" for head in HEADS) if int8 else "")
            same = row.agreement
            cells.append(" / ".join(f"{100 * same[head]:.1f}" for head in HEADS) if same else "")
            cells.append(f"{row.bytes / 1e6:.2f}" if row.bytes else "")
            cells.append(f"{(row.export_seconds or 0) / 60:.1f} min" if int8 else "")
        minutes = row.train_seconds / 60
        cells += [f"{minutes:.1f} min", f"{row.results[0].parameters / 1e6:.1f} M"]
        table.add_row(Text(harmless(name)), *cells)
    console = HarmlessConsole()
    room = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
    if console.is_terminal:  # a terminal breaks wider lines; a file has no width
        room -= max(0, max(map(len, names)) - FOLDED)
    console.width = max(console.width, room)
    console.print(harmless(title), style="bold", soft_wrap=True)
    console.print(table)
    for line in _notes(summary):
        console.print(line, soft_wrap=True)


def _score(found: Estimate) -> str:
    return f"{found.mean:.3f}" + ("" if found.half is None else f" ±{found.half:.3f}")


def _mark(summary: ComparisonSummary, head: str, number: int) -> str:
    test = summary.against_best(head, number)
    if test is None:
        return "  "
    return " *" if test.is_significant else " ="


def _notes(summary: ComparisonSummary) -> list[str]:
    rows = summary.rows
    if max(len(row.results) for row in rows) < 2:
        return [
            "one run a setting: no interval and no test; pass --folds or --seeds for both",
            *_file_notes(rows),
        ]
    lines = ["± half of the 95 % interval of the mean (corrected for overlapping training parts)"]
    if summary.tests:
        lines.append(
            "* behind the best by more than noise, = no difference from it beyond noise "
            "(paired, corrected resampled t-test, Holm)"
        )
    elif len(rows) > 1:
        lines.append("not tested: the settings were not tested on the same images; pass --folds")
    lines += _file_notes(rows)
    if any(row.published for row in rows):
        lines.append("published: landmark / category of the study, on its own 90 photographs")
    return lines


def _file_notes(rows: Sequence[SettingSummary]) -> list[str]:
    files = [file for row in rows for file in row.files]
    if not files:
        return []
    passed = sum(file.gate_passed for file in files)
    return [
        "int8: macro F1 of the files, landmark / category; same: images with float's top class, "
        f"each head alone; {passed} of {len(files)} files passed the gate"
    ]
