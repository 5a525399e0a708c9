"""CSV files with their command, machine and data in comment lines at the top."""

from __future__ import annotations

import csv
import dataclasses
import io
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files, machine
from ..runtime import installed_runtime

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FOLDER = Path("benchmarks/results")
HERE = "benchmarks.studies"


def write_csv(
    path: Path, rows: Sequence[DataclassInstance], *, data: str, package: str = HERE
) -> None:
    """Write rows of one dataclass under three comment lines: command, machine, `data`.

    Columns are the fields; floats keep five significant digits, None is an empty cell. `package` is
    where the script is. Raises LmedgeError when the file cannot be written.
    """
    stream = io.StringIO()
    stream.write(f"# command: {command_line(sys.argv, package)}\n")
    stream.write(f"# machine: {machine_line()}\n")
    stream.write(f"# data: {data}\n")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(rows[0]))
    for row in rows:
        writer.writerow(_cell(value) for value in dataclasses.astuple(row))
    files.write_text(path, stream.getvalue())


def machine_line() -> str:
    """Return processor, cores, Python and runtime; no name of a host or a person."""
    return ", ".join(
        (
            machine.processor_model(),
            f"{machine.cores()} cores",
            f"Python {platform.python_version()}",
            installed_runtime(),
        )
    )


def command_line(arguments: Sequence[str], package: str = HERE) -> str:
    """Return how to run a script again, wherever lmedge is installed."""
    script = Path(arguments[0])
    # a package is run by its __main__.py
    name = script.parent.name if script.stem == "__main__" else script.stem
    return shlex.join(["python", "-m", f"{package}.{name}", *arguments[1:]])


def _cell(value: object) -> object:
    return f"{value:.5g}" if isinstance(value, float) else value
