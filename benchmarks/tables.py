"""Tables for the terminal, which fit 80 columns."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lmedge.evaluation.metrics import weakest_classes
from lmedge.harmless import harmless
from lmedge.report.terminal import NAMED, count_images, first_names, plain_table, print_line

from .accuracy import Accuracy
from .latency import Latency, Spread
from .load import Load
from .regression import Change
from .report import FileFacts, Report
from .several import BenchmarkComparison

_WEAKEST = 5
_WIDTH = 34  # characters of the first column


def show_report(report: Report, console: Console) -> None:
    """Print a report; names are never read as markup."""
    file, environment = report.file, report.environment
    title = Text(harmless(file.name), style="bold")
    title.append(f"  {_size(file.bytes)}, sha256 {file.sha256[:12]}", style="dim")
    console.print(title)
    print_line(console, _operators(file))
    print_line(
        console, f"{environment.processor}, {environment.cores} cores, {environment.runtime}"
    )
    console.print()
    console.print(_latency_table(report.latency))
    for line in _latency_notes(report.latency, report.load):
        print_line(console, line)
    for doubt in report.doubts:
        print_line(console, f"noisy: {doubt}; measure again on a quiet machine")
    if report.accuracy is None:
        return
    part = report.data.part if report.data else None
    console.print()
    console.print(_accuracy_table(report.accuracy, part))
    for line in _accuracy_notes(report.accuracy):
        print_line(console, line)


def show_comparison(compared: BenchmarkComparison, console: Console) -> None:
    """Print several files or runtimes beside each other."""
    titled = list(zip(compared.titles(), compared.entries, strict=True))
    table = plain_table("", "MB", "p50 ms", "p90 ms", "x first (95 %)", width=20)
    for title, entry in titled:
        low, high = entry.ratio_interval
        ratio = f"{entry.ratio:.3f} ({low:.3f} to {high:.3f})"
        times = (_milliseconds(entry.p50_ms), _milliseconds(entry.p90_ms))
        table.add_row(Text(harmless(title)), f"{entry.bytes / 1e6:.2f}", *times, ratio)
    console.print(table)
    for doubt in compared.noisy:
        print_line(console, f"noisy: {doubt}; measure again on a quiet machine")
    if not compared.pictures:
        return
    heading = f"landmarks of {count_images(compared.pictures)}"
    table = plain_table(heading, "macro F1", "less the first (95 %)", "same answer", width=20)
    for title, entry in titled:
        assert entry.difference_interval is not None
        low, high = entry.difference_interval
        difference = f"{entry.difference:+.3f} ({low:+.3f} to {high:+.3f})"
        table.add_row(
            Text(harmless(title)), f"{entry.macro_f1:.3f}", difference, f"{entry.same_answer:.1%}"
        )
    console.print()
    console.print(table)
    for note in compared.notes():
        print_line(console, note)


def show_changes(found: Sequence[Change], console: Console) -> None:
    """Print two reports beside each other."""
    table = plain_table("", "old", "new", "change", width=_WIDTH)
    for change in found:
        verdict = "worse" if change.worse > 0 else "better" if change.worse < 0 else ""
        shown = f"{abs(change.worse):.1%} {verdict}".strip()
        table.add_row(harmless(change.name), f"{change.old:.5g}", f"{change.new:.5g}", shown)
    console.print(table)


def _operators(file: FileFacts) -> str:
    counts: collections.Counter[str] = collections.Counter()
    for entry in file.operators:
        counts[entry.dtype] += entry.count
    kinds = ", ".join(f"{count} {dtype}" for dtype, count in counts.most_common())
    return f"{counts.total()} operators: {kinds}"


def _latency_table(latency: Latency) -> Table:
    threads = "1 thread" if latency.threads == 1 else f"{latency.threads} threads"
    title = f"latency in ms, {threads}, {latency.runs} runs"
    table = plain_table(title, "p50", "p90", "p95", "p99", "mean", width=_WIDTH)

    def row(name: str, spread: Spread) -> None:
        times = (spread.p50, spread.p90, spread.p95, spread.p99, spread.mean)
        table.add_row(name, *map(_milliseconds, times))

    row("invoke", latency.invoke_ms)
    row("640 x 480 frame to labels", latency.end_to_end_ms)
    return table


def _latency_notes(latency: Latency, load: Load) -> Iterator[str]:
    loading, first = _milliseconds(latency.load_ms), _milliseconds(latency.first_ms)
    yield f"load {loading} ms, first invoke {first} ms"
    rate = latency.frames_per_second
    yield f"frame to labels: {latency.overhead:.2f} x invoke, {rate:.0f} a second"
    stages = (f"{name} {_milliseconds(spread.p50)}" for name, spread in load.stages_ms.items())
    yield f"stages of a 640 x 480 JPEG in ms: {', '.join(stages)}"
    sweep = (f"{entry.threads}: {_milliseconds(entry.invoke_p50_ms)}" for entry in load.sweep)
    yield f"invoke in ms by threads: {', '.join(sweep)}"
    cores = "1 core" if load.offline_workers == 1 else f"{load.offline_workers} cores"
    yield f"one classifier a core: {load.offline_per_second:.0f} images a second on {cores}"
    if load.peak_mb is not None:
        yield f"memory of this process: {load.peak_mb:.0f} MB at the peak"


def _accuracy_table(accuracy: Accuracy, part: str | None) -> Table:
    scores = accuracy.scores
    where = f" of {part}/" if part else ""
    count = scores["landmark"].n
    title = f"accuracy on {count_images(count)}{where}"
    table = plain_table(title, "macro F1", "accuracy", "head alone", width=_WIDTH)
    for name, score in scores.items():
        alone = scores.alone[name]
        table.add_row(
            name, *(f"{value:.3f}" for value in (score.macro_f1, score.accuracy, alone.macro_f1))
        )
    return table


def _accuracy_notes(accuracy: Accuracy) -> Iterator[str]:
    conflicts = accuracy.scores.conflict_rate
    yield f"head alone: macro F1 without the other head; the two disagree on {conflicts:.1%}"
    details = accuracy.details
    low, high = details.accuracy_interval["landmark"]
    yield f"landmark accuracy {low:.3f} to {high:.3f} (95 %), right among three {details.top3:.3f}"
    errors = (f"{name} {found.error:.3f}" for name, found in details.calibration.items())
    yield f"expected calibration error: {', '.join(errors)}"
    if accuracy.unknown is not None:
        others = accuracy.unknown
        yield (
            f"of {count_images(others.pictures)} of anything else {others.false_accepts:.1%} are "
            f"taken for a landmark, and {others.kept:.1%} of the landmarks' own; "
            f"AUROC {others.auroc:.3f}"
        )
    if details.category_of_wrong is not None:
        yield f"of wrong landmarks {details.category_of_wrong:.0%} are in the right category"
    yield from accuracy.absent_notes
    weakest = weakest_classes(accuracy.scores["landmark"], _WEAKEST)
    if weakest:
        yield "weakest: " + ", ".join(f"{score.name} {score.f1:.2f}" for score in weakest)
    if accuracy.unknown_landmarks:
        images = sum(entry.pictures for entry in accuracy.unknown_landmarks)
        names = [entry.landmark for entry in accuracy.unknown_landmarks]
        yield f"skipped, not known to the file: {count_images(images)} of {first_names(names)}"
    if accuracy.unreadable:
        yield f"skipped, not readable: {count_images(len(accuracy.unreadable))}"
        for entry in accuracy.unreadable[:NAMED]:
            yield f"  {entry.reason}"


def _milliseconds(value: float) -> str:
    """Three significant digits, at most three decimals."""
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f}"


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
