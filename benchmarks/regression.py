"""Comparison of two report.json, for continuous integration."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmedge.errors import LmedgeError
from lmedge.regular import read_regular

# Figures to compare: the path in the report, and True if more is better.
FIGURES = {
    "landmark macro F1": (("accuracy", "landmark", "macro_f1"), True),
    "category macro F1": (("accuracy", "category", "macro_f1"), True),
    "invoke p50, ms": (("latency", "invoke_ms", "p50"), False),
    "frame to labels p50, ms": (("latency", "end_to_end_ms", "p50"), False),
    "frame to labels p90, ms": (("latency", "end_to_end_ms", "p90"), False),
    "memory at the peak, MB": (("latency", "peak_mb"), False),
    "size, bytes": (("file", "bytes"), False),
}


# What both reports must have in common: the path in the report.
COMMON = {
    "images": ("accuracy", "images_sha256"),
    "threads": ("latency", "threads"),
    "processor": ("environment", "processor"),
    "cores": ("environment", "cores"),
    "runtime": ("environment", "runtime"),
    "input": ("file", "input_size"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """One figure in both reports. `worse` is the share it got worse by, below zero for better."""

    name: str
    old: float
    new: float
    worse: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportComparison:
    """Two reports beside each other.

    Attributes:
        changes: The figures that both have.
        missing: The figures that one lacks, with the name of the report.
        differences: By a name of COMMON, what is not the same in both.
    """

    changes: tuple[Change, ...]
    missing: tuple[str, ...]
    differences: Mapping[str, str]


def compare_reports(old: Path, new: Path) -> ReportComparison:
    """Compare two report.json. Raises LmedgeError for other files."""
    before, after = _read(old), _read(new)
    found, missing = [], []
    for name, (path, more_is_better) in FIGURES.items():
        first, second = _figure(before, path), _figure(after, path)
        if first is None or second is None:
            if first is not second:
                missing.append(f"{name} (not in {old if first is None else new})")
            continue
        change = (first - second) if more_is_better else (second - first)
        worse = change / first if first > 0 else float(change > 0)
        found.append(Change(name=name, old=first, new=second, worse=worse))
    if not found:
        raise LmedgeError(f"{old} and {new} have no figure in common; compare like with like")
    differences = {
        name: _difference(name, _value(before, path), _value(after, path))
        for name, path in COMMON.items()
        if _value(before, path) != _value(after, path)
    }
    return ReportComparison(changes=tuple(found), missing=tuple(missing), differences=differences)


def _difference(name: str, first: Any, second: Any) -> str:
    if name == "images":  # the hashes tell a person nothing
        return "other images" if first and second else "images in one report alone"
    return (
        f"{name} {first if first is not None else '?'} and {second if second is not None else '?'}"
    )


def doubts(path: Path) -> list[str]:
    """Return the reasons to doubt the latency of a report, if it has any."""
    found = _read(path)["latency"].get("noisy", [])
    return [str(reason) for reason in found]


def share(text: str) -> float:
    """Read "5%" or "0.05". Raises ValueError for other text and below zero."""
    value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= value < 100:
        raise ValueError(text)
    return value


def _read(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError) as error:
        raise LmedgeError(
            f"{path}: cannot be read as a report ({error}); check the name"
        ) from error
    if not isinstance(report, dict) or not isinstance(report.get("latency"), dict):
        raise LmedgeError(f"{path}: is no report of `lmedge benchmark`; pass its report.json")
    return report


def _value(report: dict[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = report
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _figure(report: dict[str, Any], path: tuple[str, ...]) -> float | None:
    value = _value(report, path)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None
