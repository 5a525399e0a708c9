"""Wall time and peak memory of the command line, from an empty process to a prediction.

    python -m benchmarks.studies.cold_start FILE.tflite IMAGE

Keep this module light: a child inherits its parent's size as the floor of its own peak (Linux
carries it over from fork to exec), so nothing heavy may be imported here. A peak that does not
exceed that of an empty Python process is left out.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from lmedge.errors import LmedgeError
from lmedge.machine import peak_bytes
from lmedge.report.csv_files import write_csv

from .common import PATH, out_option, run_study


@dataclasses.dataclass(frozen=True)
class Start:
    """One finished process: wall seconds, and peak memory in MB (10^6 bytes)."""

    seconds: float
    peak_mb: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColdStart:
    """One row: a command started `processes` times; a peak too small to be seen is None."""

    command: str
    processes: int
    seconds_min: float
    seconds_median: float
    seconds_max: float
    peak_mb_min: float | None
    peak_mb_median: float | None
    peak_mb_max: float | None


def start(arguments: Sequence[str]) -> Start:
    """Run Python with arguments in a new process and wait for it.

    Raises LmedgeError when it fails.
    """
    command = [sys.executable, *arguments]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise LmedgeError(f"python {shlex.join(arguments)} failed; run it alone to see why")
    return Start(seconds, (peak_bytes(usage) or 0) / 1e6)


def measure(name: str, arguments: Sequence[str], processes: int) -> ColdStart:
    """Start `lmedge` with arguments again and again, and summarise."""
    starts = [start(["-m", "lmedge", *arguments]) for _ in range(processes)]
    seconds = [entry.seconds for entry in starts]
    peaks = [entry.peak_mb for entry in starts]
    seen = min(peaks) > 1.05 * start(["-S", "-c", "pass"]).peak_mb
    return ColdStart(
        command=name,
        processes=processes,
        seconds_min=min(seconds),
        seconds_median=statistics.median(seconds),
        seconds_max=max(seconds),
        peak_mb_min=min(peaks) if seen else None,
        peak_mb_median=statistics.median(peaks) if seen else None,
        peak_mb_max=max(peaks) if seen else None,
    )


@click.command()
@click.argument("file", type=PATH, metavar="FILE.tflite")
@click.argument("image", type=PATH)
@click.option("--processes", type=click.IntRange(1), default=10, show_default=True)
@out_option("cold_start.csv")
def main(file: Path, image: Path, processes: int, out: Path) -> None:
    """Measure the start of `lmedge --help` and of `lmedge predict FILE IMAGE`."""
    rows = [
        measure("lmedge --help", ["--help"], processes),
        measure("lmedge predict FILE IMAGE", ["predict", str(file), str(image)], processes),
    ]
    for row in rows:
        peak = "" if row.peak_mb_median is None else f", peak {row.peak_mb_max:.0f} MB"
        click.echo(
            f"{row.command}: {row.seconds_median:.2f} s "
            f"({row.seconds_min:.2f} to {row.seconds_max:.2f}){peak}"
        )
    size = file.stat().st_size
    write_csv(out, rows, data=f"{file.name} ({size} bytes), {image.name}")
    click.echo(f"written: {out}")


if __name__ == "__main__":
    run_study(main)
