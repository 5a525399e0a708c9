"""`lmedge benchmark`: a table for people, report.json for everything else."""

from __future__ import annotations

import logging
from pathlib import Path

import click
from rich.console import Console

from lmedge.classifier import Classifier
from lmedge.dataset_folder import PARTS, LabelledPicture, parts, scan

from .accuracy import score
from .latency import measure
from .report import DataFacts, Environment, FileFacts, Report
from .tables import show

_log = logging.getLogger(__name__)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tflite")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Labelled photographs, in the folders that training reads; without them only speed.",
)
@click.option(
    "--part",
    type=click.Choice(PARTS),
    help="Part of the data  [default: test where the data has one, else everything]",
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--runs",
    type=click.IntRange(1),
    help="Measured runs  [default: at least 200, and about 3 seconds]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of report.json  [default: runs/benchmark-FILE]",
)
def benchmark(
    file: Path,
    data: Path | None,
    part: str | None,
    threads: int,
    runs: int | None,
    out: Path | None,
) -> None:
    """Measure how often an exported file is right and how long it takes on this machine."""
    if part is not None and data is None:
        raise click.UsageError("--part needs --data")
    classifier = Classifier(file, threads=threads)
    environment = Environment.current()
    facts, pictures = _choose(data, part)
    _log.info("measuring latency")
    # Latency first: classifying hundreds of photographs would heat the processor.
    latency = measure(file, threads=threads, runs=runs)
    accuracy = score(classifier, pictures) if facts is not None else None
    report = Report(FileFacts.of(classifier.model), environment, latency, facts, accuracy)
    path = (out or Path("runs") / f"benchmark-{file.stem}") / "report.json"
    report.write(path)
    show(report, Console())
    click.echo(f"report: {click.format_filename(path)}")


def _choose(data: Path | None, part: str | None) -> tuple[DataFacts | None, list[LabelledPicture]]:
    if data is None:
        return None, []
    if part is None and "test" in parts(data):
        part = "test"
    return DataFacts(data, part), scan(data, part)
