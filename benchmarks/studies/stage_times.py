"""Seconds, processor seconds and memory of each stage of an int8 export.

    python -m benchmarks.studies.stage_times RUN --out export_stages.csv

Fine-tuning is left out: its time is that of its epochs. On a machine that does other work too,
compare the processor seconds, which count all threads.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from lmedge.export.formats import RunNetworks, Stages
from lmedge.machine import peak_bytes
from lmedge.report.csv_files import study_command, write_csv
from lmedge.train.run import Run

from .common import PATH, out_option, run_study


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageTime:
    """One stage: seconds on the clock, processor seconds of all threads, and memory.

    `peak_mb` is the most memory that the process had until then, in 10^6 bytes.
    """

    stage: str
    seconds: float
    processor_seconds: float
    peak_mb: float


class MeasuredStages(Stages):
    """Stages that also keep processor seconds and the most memory the process had until then."""

    def __init__(self, processor_clock: Callable[[], float] = time.process_time) -> None:
        """Begin without a stage."""
        super().__init__()
        self.processor: dict[str, float] = {}
        self.peak_mb: dict[str, float] = {}
        self._clock = processor_clock

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure the block as part of a stage."""
        began = self._clock()
        with super().timed(stage):
            yield
        self.processor[stage] = self.processor.get(stage, 0) + self._clock() - began
        self.peak_mb[stage] = (peak_bytes() or 0) / 1e6

    def rows(self) -> list[StageTime]:
        """Return a row a stage, in the order in which they were first entered."""
        return [
            StageTime(
                stage=stage,
                seconds=round(seconds, 1),
                processor_seconds=round(self.processor[stage], 1),
                peak_mb=round(self.peak_mb[stage], 1),
            )
            for stage, seconds in self.seconds.items()
        ]


@click.command()
@click.argument("run", type=PATH)
@out_option()
def main(run: Path, out: Path) -> None:
    """Calibrate and convert a finished RUN to int8, and write what each stage took."""
    stages = MeasuredStages()
    opened = Run.open(run)
    RunNetworks(opened.for_export(("quantize.epochs=0",)), stages).graph("int8", "uint8")
    data = f"a run on {Path(opened.data).name}"
    write_csv(out, stages.rows(), data=data, command=study_command(sys.argv, {run: "RUN"}))
    click.echo(out.read_text("utf-8"), nl=False)


if __name__ == "__main__":
    run_study(main)
