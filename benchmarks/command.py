"""`lmedge benchmark`: a table for people, report.json for everything else."""

from __future__ import annotations

import logging
from pathlib import Path

import click
from rich.console import Console

from lmedge.classifier import Classifier
from lmedge.dataset_folder import PARTS, LabelledPicture, parts, scan

from .accuracy import score
from .conditions import Conditions, Moment
from .latency import QUICK, THOROUGH, USUAL, Effort, measure
from .load import measure_load
from .pages import write_report
from .report import DataFacts, Environment, FileFacts, Report
from .tables import show

EFFORTS = {None: USUAL, "quick": QUICK, "thorough": THOROUGH}
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
    help="Measured runs  [default: at least 1,024, and 10 seconds]",
)
@click.option("--quick", "effort", flag_value="quick", help="100 runs and a second: a look.")
@click.option("--thorough", "effort", flag_value="thorough", help="A minute.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the report  [default: runs/benchmark-FILE]",
)
def benchmark(
    file: Path,
    data: Path | None,
    part: str | None,
    threads: int,
    runs: int | None,
    effort: str | None,
    out: Path | None,
) -> None:
    """Measure how often an exported file is right and how long it takes on this machine.

    Latency is single-stream, as MLPerf measures it. The folder holds report.json, report.csv,
    samples.csv, and with `pip install 'lmedge[report]'` report.html, report.md and plots.
    """
    if part is not None and data is None:
        raise click.UsageError("--part needs --data")
    if runs is not None and effort is not None:
        raise click.UsageError("--runs and --quick or --thorough exclude each other")
    chosen = EFFORTS[effort] if runs is None else Effort(runs, 0.0)
    classifier = Classifier(file, threads=threads)
    environment = Environment.current()
    facts, pictures = _choose(data, part)
    _log.info("measuring latency")
    # Latency first: classifying hundreds of photographs would heat the processor.
    before = Moment.now()
    latency = measure(file, threads=threads, effort=chosen)
    load = measure_load(file, threads, chosen)
    conditions = Conditions(before, Moment.now())
    accuracy = score(classifier, pictures) if facts is not None else None
    found = FileFacts.of(classifier.model)
    report = Report(found, environment, conditions, latency, load, facts, accuracy)
    folder = out or Path("runs") / f"benchmark-{file.stem}"
    names = write_report(report, folder)
    show(report, Console())
    click.echo(f"report: {click.format_filename(folder)}: {', '.join(names)}")


def _choose(data: Path | None, part: str | None) -> tuple[DataFacts | None, list[LabelledPicture]]:
    if data is None:
        return None, []
    if part is None and "test" in parts(data):
        part = "test"
    return DataFacts(data, part), scan(data, part)
