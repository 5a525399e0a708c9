"""What each stage of an int8 export takes: seconds, processor seconds, memory.

    python -m benchmarks.studies.stage_times RUN --out export_stages.csv

Fine-tuning is left out: it takes as long as its epochs. On a machine that does other work too the
processor seconds, of all threads together, are the ones to compare.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from lmedge.export.formats import RunNetworks, Stages
from lmedge.files import write_text
from lmedge.machine import cores, peak_bytes, processor_model
from lmedge.train.run import Run

from .scripts import run

COLUMNS = ("stage", "seconds", "processor_seconds", "peak_mb")


class Measured(Stages):
    """Stages that also keep processor seconds and the most memory the process had until then."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self.processor: dict[str, float] = {}
        self.peak_mb: dict[str, float] = {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure the block as part of a stage."""
        began = time.process_time()
        with super().timed(stage):
            yield
        self.processor[stage] = self.processor.get(stage, 0) + time.process_time() - began
        self.peak_mb[stage] = (peak_bytes() or 0) / 1e6


def table(stages: Measured) -> str:
    """Return a row a stage as CSV, under the command and the machine."""
    stream = io.StringIO()
    stream.write("# command: python -m benchmarks.studies.stage_times RUN\n")
    stream.write(f"# machine: {processor_model()}, {cores()} cores\n")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for stage, seconds in stages.seconds.items():
        figures = (seconds, stages.processor[stage], stages.peak_mb[stage])
        writer.writerow((stage, *(f"{figure:.1f}" for figure in figures)))
    return stream.getvalue()


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The CSV file.")
def main(run: Path, out: Path) -> None:
    """Calibrate and convert a finished RUN to int8, and write what each stage took."""
    stages = Measured()
    RunNetworks(Run.open(run).with_settings(("quantize.epochs=0",)), stages).graph("int8", "uint8")
    write_text(out, table(stages))
    click.echo(out.read_text("utf-8"))


if __name__ == "__main__":
    run(main)
