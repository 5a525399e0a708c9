"""Processor time and memory of `lmedge teach`, in a process of its own for each folder.

    python -m benchmarks.studies.teach_cost DATA... --out teach_cost.csv

The cache does not help: every photograph is decoded and goes through the backbone. Processor time
is that of all threads; two quiet cores need half of it at the least.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from pathlib import Path

import click

from lmedge.errors import LmedgeError
from lmedge.model_file import read_model
from lmedge.processes import child_environment, python_command
from lmedge.report.csv_files import study_command, write_csv

from .common import PATH, out_option, run_study


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostRow:
    """One folder. `photographs` are those learned; copies of one photograph count once."""

    data: str
    base: str
    photographs: int
    processor_seconds: float
    milliseconds_each: float
    megabytes: float
    file_megabytes: float


def measure(data: Path, base: Path | None, threads: int) -> CostRow:
    """Teach a base the photographs of one folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.tflite"
        words = ["-m", "lmedge", "teach", data, "-o", path, "--force", "--threads", threads]
        words += [] if base is None else ["--base", base]
        command = python_command(*map(str, words))
        child = os.posix_spawn(command[0], command, child_environment())
        _, status, usage = os.wait4(child, 0)
        if os.waitstatus_to_exitcode(status):
            raise LmedgeError(f"{data}: lmedge teach has failed")
        count = int(read_model(path).info["provenance"]["pictures"]["train"])
        size = path.stat().st_size
    seconds = usage.ru_utime + usage.ru_stime
    return CostRow(
        data=data.name,
        base="base" if base is None else base.stem,
        photographs=count,
        processor_seconds=round(seconds, 1),
        milliseconds_each=round(1000 * seconds / count, 1),
        megabytes=round(usage.ru_maxrss / 1024, 1),
        file_megabytes=round(size / 1e6, 2),
    )


@click.command()
@click.argument("data", nargs=-1, required=True, type=PATH)
@click.option("--base", "bases", multiple=True, type=PATH, help="A further base. Repeatable.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@out_option("teach_cost.csv")
def main(data: tuple[Path, ...], bases: tuple[Path, ...], threads: int, out: Path) -> None:
    """Measure processor time and peak memory of teaching each folder."""
    rows = []
    for base in (None, *bases):
        for folder in data:
            rows.append(measure(folder, base, threads))
            click.echo(rows[-1])
    words = {path: f"DATA/{path.name}" for path in data} | dict.fromkeys(bases, "FILE")
    about = f"{', '.join(path.name for path in data)}; {threads} thread of the runtime"
    write_csv(out, rows, data=about, command=study_command(sys.argv, words))


if __name__ == "__main__":
    run_study(main)
