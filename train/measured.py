"""The CSV of a measuring script: one row under three lines that say how it came about."""

from __future__ import annotations

import csv
import io
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from lmedge import files, machine


def write_row(path: Path, row: Mapping[str, object], script: str, data: str) -> None:
    """Write and print one row; `script` is the name of the module below `lmedge.train`.

    Raises LmedgeError when the file cannot be written.
    """
    stream = io.StringIO()
    command = shlex.join(["python", "-m", f"lmedge.train.{script}", *sys.argv[1:]])
    stream.write(f"# command: {command}\n")
    stream.write(f"# machine: {machine.processor_model()}, {machine.cores()} cores\n")
    stream.write(f"# data: {data}\n")
    writer = csv.DictWriter(stream, list(row), lineterminator="\n")
    writer.writeheader()
    writer.writerow(row)
    files.write_text(path, stream.getvalue())
    click.echo("\n".join(f"{name}: {value}" for name, value in row.items()))
