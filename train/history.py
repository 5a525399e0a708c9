"""history.csv: one row an epoch of each phase."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

from lmedge.files import replacing
from lmedge.regular import read_regular_text

HISTORY = "history.csv"


@dataclasses.dataclass(frozen=True, kw_only=True)
class HistoryRow:
    """One epoch of one phase. The validation figures are of the heads that the phase trains."""

    phase: str
    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float
    learning_rate: float
    seconds: float


def read_history(path: Path) -> list[HistoryRow]:
    """Return the rows of a file; none if it is missing."""
    if not path.exists():
        return []
    kinds = {"phase": str, "epoch": int}
    with io.StringIO(read_regular_text(path), newline="") as stream:
        return [
            HistoryRow(**{key: kinds.get(key, float)(value) for key, value in row.items()})
            for row in csv.DictReader(stream)
        ]


def write_history(path: Path, rows: list[HistoryRow]) -> None:
    """Write the rows, in place of those of an earlier file."""
    names = [field.name for field in dataclasses.fields(HistoryRow)]
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(dataclasses.asdict(row) for row in rows)
