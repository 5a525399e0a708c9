"""CSV files with their command, machine and data in comment lines at the top."""

from __future__ import annotations

import csv
import dataclasses
import io
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files, machine
from ..harmless import harmless, write_rows
from ..runtime import installed_runtime

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

STUDIES = "benchmarks.studies"


def write_csv(
    path: Path,
    rows: Sequence[DataclassInstance | Mapping[str, object]],
    *,
    data: str,
    command: str | None = None,
) -> None:
    """Write rows under three comment lines: command, machine, data.

    Columns are the fields of the dataclass, or every key of the mappings in the order of their
    first appearance. Floats keep five significant digits. None and a missing key are empty cells.

    Args:
        path: The file to write; its folder is made if it is missing.
        rows: At least one dataclass instance or mapping.
        data: A description of what was measured, without a line break.
        command: The command line that makes the file, by default that of the running study.

    Raises:
        LmedgeError: The file cannot be written.
    """
    found = [row if isinstance(row, Mapping) else _fields(row) for row in rows]
    stream = io.StringIO()
    stream.write(f"# command: {harmless(command or study_command(sys.argv))}\n")
    stream.write(f"# machine: {harmless(machine_line())}\n")
    stream.write(f"# data: {harmless(data)}\n")
    columns = list(dict.fromkeys(name for row in found for name in row))
    writer = csv.writer(stream, lineterminator="\n")
    write_rows(writer, [columns])
    write_rows(writer, ([_cell(row.get(name)) for name in columns] for row in found))
    files.write_text(path, stream.getvalue())


def _fields(row: DataclassInstance) -> dict[str, object]:
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}


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


def study_command(arguments: Sequence[str], stand_ins: Mapping[Path, str] | None = None) -> str:
    """Return the command line that runs a study again from the root of a clone.

    Args:
        arguments: The words of `sys.argv`; the first is the study's file.
        stand_ins: Words such as RUN for paths that mean nothing elsewhere.
    """
    script = Path(arguments[0])
    # a package is run by its __main__.py
    name = script.parent.name if script.stem == "__main__" else script.stem
    shown = {str(path): word for path, word in (stand_ins or {}).items()}
    words = [shown.get(word, word) for word in arguments[1:]]
    return shlex.join(["python", "-m", f"{STUDIES}.{name}", *words])


class _Digits(float):
    """A number that is written with five significant digits; text would be taken for a formula."""

    def __str__(self) -> str:
        return f"{float(self):.5g}"

    __repr__ = __str__


def _cell(value: object) -> object:
    return _Digits(value) if isinstance(value, float) else value
