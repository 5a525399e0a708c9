"""The tables and lines that `lmedge export` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from lmedge.evaluation import CROSS_VALIDATED, PARTS, part_name
from lmedge.evaluation.thresholds import FittedThresholds
from lmedge.harmless import echo, harmless
from lmedge.model_file import HEADS
from lmedge.rejection import Threshold
from lmedge.report.terminal import HarmlessConsole

from .exporting import Outcome
from .quantization.explain import WORST, Noise, worst
from .selection import CandidateFormat


def print_outcome(path: Path, outcome: Outcome) -> None:
    """Print one file beside float, by part and head, and the effect of its threshold."""
    table = Table(
        title=f"{harmless(path.name)}: {len(outcome.file.data) / 1e6:.2f} MB, {outcome.format}"
    )
    for column in ("part", "head", "float F1", "file F1", "change", "agreement", "ECE"):
        table.add_column(column, justify="left" if column in ("part", "head") else "right")
    for comparison in outcome.findings.comparisons:
        for head in HEADS:
            before = comparison.float_scores[head]
            after = comparison.file_scores[head]
            error = comparison.calibration[head]
            table.add_row(
                f"{part_name(comparison.part)}, {before.n}",
                head,
                f"{before.macro_f1:.3f}",
                f"{after.macro_f1:.3f}",
                f"{100 * (after.macro_f1 - before.macro_f1):+.1f}",
                f"{100 * comparison.agreement[head]:.1f} %",
                f"{error.after:.3f}",
            )
    HarmlessConsole().print(table)
    parts = [comparison.part for comparison in outcome.findings.comparisons]
    judged = "cross-validated" if CROSS_VALIDATED in parts else "validation part"
    for change in outcome.findings.verdict.changes:
        echo(f"{judged}, {change.describe()}")
    if outcome.findings.rejection is not None:
        _print_curve(outcome.findings.rejection)
        echo(_rejection(outcome.findings.rejection))


def _print_curve(found: FittedThresholds) -> None:
    """Print the accuracy over coverage: what each threshold keeps, and what it lets pass."""
    if not found.curve:
        return
    table = Table(title=f"accuracy over coverage, {found.measured} part, in per cent")
    titles = ["images that pass", "landmark right", "threshold"]
    if found.curve[0].false_accepts is not None:
        titles.append("unknown images that pass")
    for column in titles:
        table.add_column(column, justify="right")
    for point in found.curve:
        others = [] if point.false_accepts is None else [f"{100 * point.false_accepts:.1f}"]
        shares = (f"{100 * point.kept:.1f}", f"{100 * point.accuracy:.1f}")
        table.add_row(*shares, f"{point.threshold:.3f}", *others)
    HarmlessConsole().print(table)
    if found.risk_area is not None:
        echo(f"landmarks wrong, mean over all coverages: {100 * found.risk_area:.2f} %")


def print_noise(found: Sequence[Noise]) -> None:
    """Print the tensors with the least signal to noise."""
    table = Table(title="least signal to noise, float against int8")
    for column in ("tensor", "shape", "range", "dB", "its rounding alone"):
        table.add_column(column, justify="left" if column == "tensor" else "right")
    for one in worst(found)[:WORST]:
        table.add_row(
            one.tensor,
            " x ".join(map(str, one.shape)),
            f"{one.low:.2f} to {one.high:.2f}",
            f"{one.snr:.1f}",
            f"{one.rounding:.1f}",
        )
    HarmlessConsole().print(table)


def _rejection(found: FittedThresholds) -> str:
    """Return the threshold and its effect as one line."""
    if found.threshold == 0:
        return (
            f'"not a landmark": {found.known} rightly named images are too few for a threshold '
            f"that {100 * found.coverage:g} % of them reach; nothing is refused"
        )
    parts = [
        f'"not a landmark" below {Threshold(least=found.threshold, score=found.score).describe()}'
    ]
    if found.kept is not None:
        parts.append(f"{100 * found.kept:.1f} % of test images pass")
    if found.false_accepts is not None:
        parts.append(f"and {100 * found.false_accepts:.1f} % of unknown images")
    if found.auroc is not None:
        parts.append(f"AUROC {found.auroc:.3f}")
    return "; ".join(parts)


def print_candidates(candidates: Sequence[CandidateFormat]) -> None:
    """Print formats side by side, on the last part that has images."""
    part = candidates[0].outcome.findings.comparisons[-1].part
    part = f"{part} part" if part in PARTS else part_name(part)
    table = Table(title=f"macro F1 and agreement with float, {part}; one thread")
    for column in ("format", "landmark", "category", "agree %", "MB", "ms", "operators", ""):
        table.add_column(column, justify="left" if column in ("format", "") else "right")
    several = len({one.size for one in candidates}) > 1
    for one in candidates:
        judged = one.outcome.findings.comparisons[-1]
        counts = one.outcome.operators()
        table.add_row(
            f"{one.format}, {one.size} pixels" if several else one.format,
            *(f"{judged.file_scores[head].macro_f1:.3f}" for head in HEADS),
            " ".join(f"{100 * judged.agreement[head]:.0f}" for head in HEADS),
            f"{one.megabytes:.2f}",
            f"{one.milliseconds:.2f}",
            f"{max(counts.values())} {max(counts, key=counts.__getitem__)}",
            "passed" if one.passed else "refused",
        )
    HarmlessConsole().print(table)
