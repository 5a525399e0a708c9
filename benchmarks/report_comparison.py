"""`lmedge benchmark --compare`: two reports beside each other, and the judgement of a limit."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import click

from lmedge.errors import RegressionError
from lmedge.harmless import echo, harmless
from lmedge.report.terminal import HarmlessConsole

from .regression import ReportComparison, compare_reports, doubts, share
from .tables import show_changes


def print_report_comparison(
    old: Path, new: Path, fail_over: str | None, may_differ: Collection[str]
) -> None:
    """Print two report.json beside each other.

    Args:
        old: The report to compare with.
        new: The report that may be worse.
        fail_over: The share by which a figure may be worse, as text; None judges nothing.
        may_differ: Names of `regression.COMMON` that need not be the same.

    Raises:
        RegressionError: With a limit, if a figure is worse by more or cannot be compared.
        LmedgeError: One of the files is no report.
    """
    try:
        limit = None if fail_over is None else share(fail_over)
    except ValueError as error:
        raise click.UsageError(f"--fail-over {fail_over}: write it as 5% or 0.05") from error
    found = compare_reports(old, new)
    show_changes(found.changes, HarmlessConsole())
    for text in found.differences.values():
        echo(f"not the same in both: {harmless(text)}")
    for name in found.missing:
        echo(f"not compared: {harmless(name)}")
    for path in (old, new):
        for doubt in doubts(path):
            echo(f"{harmless(path)} is noisy: {harmless(doubt)}")
    if limit is not None:
        _judge(found, limit, f"{new} is worse than {old}", f"{fail_over}", may_differ)


def _judge(
    found: ReportComparison, limit: float, worse: str, given: str, may_differ: Collection[str]
) -> None:
    apart = [text for name, text in found.differences.items() if name not in may_differ]
    unlike = [name for name in found.differences if name not in may_differ]
    problems = [f"{one.name} by {one.worse:.1%}" for one in found.changes if one.worse > limit]
    told = [f"{worse}: {', '.join(problems)}; the limit is {given}"] if problems else []
    if apart:
        told.append(
            f"not the same in both: {', '.join(apart)}; measure alike, or pass "
            f"{' '.join(f'--may-differ {name}' for name in unlike)}"
        )
    if found.missing:
        told.append(f"in one report alone: {', '.join(found.missing)}; measure both alike")
    if told:
        raise RegressionError(". ".join(told))
