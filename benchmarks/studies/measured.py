"""The CSV of a measuring script: rows under three lines that say how they came about."""

from __future__ import annotations

import csv
import io
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from lmedge import files, machine


def write_row(path: Path, row: Mapping[str, object], script: str, data: str) -> None:
    """Write and print one row; `script` is the name of the module below `lmedge.train`.

    Raises LmedgeError when the file cannot be written.
    """
    write_rows(path, [row], script, data)
    click.echo("\n".join(f"{name}: {value}" for name, value in row.items()))


def write_rows(path: Path, rows: Sequence[Mapping[str, object]], script: str, data: str) -> None:
    """As `write_row`, of rows with the same names, and without printing them."""
    stream = io.StringIO()
    command = shlex.join(["python", "-m", f"lmedge.train.{script}", *sys.argv[1:]])
    stream.write(f"# command: {command}\n")
    stream.write(f"# machine: {machine.processor_model()}, {machine.cores()} cores\n")
    stream.write(f"# data: {data}\n")
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(path, stream.getvalue())
