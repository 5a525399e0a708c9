"""Photographs to spoil, and the check as the tests call it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lmedge.exclude import Exclusion, write_exclusions
from lmedge.train.data.check import DataReport, check_data
from tests import small_run

FRACTIONS = {"test": 0.2, "val": 0.15}
Check = Callable[..., DataReport]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Six photographs of each of four landmarks, to be spoilt."""
    return small_run.write_photographs(tmp_path / "photographs", 6)


@pytest.fixture
def in_parts(tmp_path: Path) -> Path:
    """The same in parts: six to train on, two to validate, two to test."""
    folder = tmp_path / "in parts"
    for seed, (part, count) in enumerate((("train", 6), ("val", 2), ("test", 2))):
        small_run.write_photographs(folder / part, count, seed=seed)
    return folder


def run_check(data: Path, *exclusions: Exclusion, min_side: int = 16) -> DataReport:
    """Check `data`, whose drawings are smaller than what people bring."""
    exclude = data.parent / "excluded.txt" if exclusions else None
    if exclude is not None:
        write_exclusions(exclude, exclusions)
    return check_data(data, exclude=exclude, min_side=min_side, fractions=FRACTIONS)


def kinds(report: DataReport) -> list[str]:
    return [finding.kind for finding in report.findings]
