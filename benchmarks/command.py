"""`lmedge benchmark`: a table for people, report.json for programs."""

from __future__ import annotations

import logging
from pathlib import Path

import click
from click.core import ParameterSource

from lmedge.classifier import Classifier
from lmedge.commands.options import (
    THREADS,
    data_option,
    out_option,
    part_option,
    unknown_option,
    warn_of_threads,
)
from lmedge.errors import LmedgeError
from lmedge.evaluation.folders import LabelledImage, parts, scan, split_known
from lmedge.evaluation.unknown import list_unknown_images
from lmedge.files import check_folder
from lmedge.harmless import echo, harmless
from lmedge.remote.link import PATIENCE, Link, check_host, check_option
from lmedge.remote.payload import Payload
from lmedge.report.terminal import HarmlessConsole

from .accuracy import score
from .conditions import Conditions, Moment
from .contestants import Runtime
from .latency import QUICK, THOROUGH, USUAL, Effort, measure
from .load import measure_load
from .pages import write_comparison, write_report
from .regression import COMMON
from .report import DataFacts, Environment, FileFacts, Report
from .report_comparison import print_report_comparison
from .several import compare_files
from .tables import show_comparison, show_report

EFFORTS = {None: USUAL, "quick": QUICK, "thorough": THOROUGH}
# Parameters that do not travel as they are: paths, which have others there, and the way there.
HERE = {
    "given",
    "data",
    "part",
    "unknown",
    "out",
    "host",
    "host_python",
    "ssh_options",
    "give_up",
}
_log = logging.getLogger(__name__)


@click.command()
@click.argument("given", type=click.Path(path_type=Path), metavar="FILE.tflite...", nargs=-1)
@data_option("Labelled photographs, in the folders that training reads; without them only speed.")
@part_option("Part of the data  [default: test where the data has one, else everything]")
@unknown_option("With --data: images of anything else, to see whether the file tells them apart.")
@click.option(
    "--threads",
    type=THREADS,
    default=1,
    show_default=True,
    help="Threads of the runtime.",
)
@click.option(
    "--runtime",
    metavar="NAMES",
    help="litert, tflite-runtime, or both with a comma between; NAME=PATH/TO/python names one of "
    "another virtual environment  [default: the first installed]",
)
@click.option(
    "--runs",
    type=click.IntRange(1),
    help=f"Measured runs  [default: at least {USUAL.runs:,}, and {USUAL.seconds:g} seconds]",
)
@click.option(
    "--quick",
    "effort",
    flag_value="quick",
    help=f"A first look: {QUICK.runs} runs, or as many as {QUICK.longest:g} seconds allow.",
)
@click.option(
    "--thorough", "effort", flag_value="thorough", help=f"Measure for {THOROUGH.seconds:g} seconds."
)
@out_option("Folder of the report  [default: runs/benchmark-FILE]")
@click.option(
    "--host",
    metavar="USER@BOARD",
    help="Measure on another machine, reached by ssh, and bring its report here.",
)
@click.option(
    "--host-python",
    metavar="PATH",
    help="With --host: the Python there  [default: one that has lmedge or what it needs]",
)
@click.option(
    "--ssh-option",
    "ssh_options",
    metavar="KEY=VALUE",
    multiple=True,
    help="With --host: an option of ssh_config, for example Port=2222. Repeatable.",
)
@click.option(
    "--give-up",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help=f"With --host: how long to try to reach a lost board again  [default: {PATIENCE:g}]",
)
@click.option(
    "--compare",
    "reports",
    type=click.Path(path_type=Path),
    nargs=2,
    metavar="OLD NEW",
    help="Measure nothing: compare two report.json.",
)
@click.option(
    "--fail-over",
    metavar="SHARE",
    help="With --compare: exit with code 12 if a figure is worse by more, for example 5%, or "
    "cannot be compared.",
)
@click.option(
    "--may-differ",
    multiple=True,
    type=click.Choice(list(COMMON)),
    help="With --fail-over: what need not be the same in both reports. Repeatable.",
)
@click.pass_context
def benchmark(
    context: click.Context,
    given: tuple[Path, ...],
    data: Path | None,
    part: str | None,
    unknown: Path | None,
    threads: int,
    runtime: str | None,
    runs: int | None,
    effort: str | None,
    out: Path | None,
    host: str | None,
    host_python: str | None,
    ssh_options: tuple[str, ...],
    give_up: float | None,
    reports: tuple[Path, Path] | None,
    fail_over: str | None,
    may_differ: tuple[str, ...],
) -> None:
    """Measure how often an exported file is right and how long it takes on this machine.

    Latency is single-stream, as MLPerf measures it. Several files or runtimes take turns, and are
    compared with the first on the same images. The folder of one file holds report.json,
    report.csv and samples.csv; that of several comparison.json, comparison.csv and samples.csv.
    With `pip install 'lmedge[report]'` a page and plots are added.

    \b
    lmedge benchmark landmarks.tflite --data photographs-it-has-not-seen
    lmedge benchmark a.tflite b.tflite --data photographs-it-has-not-seen
    lmedge benchmark landmarks.tflite --host pi@raspberrypi.local
    lmedge benchmark a.tflite --runtime litert,tflite-runtime=other-env/bin/python
    lmedge benchmark --compare old/report.json new/report.json --fail-over 5%
    """  # noqa: D301  (click needs the control character)
    if (not given) == (reports is None):
        raise click.UsageError("pass FILE.tflite, or --compare OLD NEW")
    if reports is not None:
        if host is not None:
            raise click.UsageError("--compare measures nothing: leave out --host")
        print_report_comparison(*reports, fail_over, may_differ)
        return
    if fail_over is not None or may_differ:
        raise click.UsageError("--fail-over and --may-differ need --compare")
    if part is not None and data is None:
        raise click.UsageError("--part needs --data")
    runtimes = _runtimes(runtime)
    together = len(given) > 1 or len(runtimes) > 1 or any(one.python for one in runtimes)
    if unknown is not None and (data is None or together):
        raise click.UsageError("--unknown needs --data, and one file in one runtime")
    if runs is not None and effort is not None:
        raise click.UsageError("--runs and --quick or --thorough exclude each other")
    if host is not None:
        _there(context, host, together)
        return
    if host_python is not None or ssh_options or give_up is not None:
        raise click.UsageError("--host-python, --ssh-option and --give-up need --host")
    warn_of_threads(threads)
    chosen = EFFORTS[effort] if runs is None else Effort(runs=runs, seconds=0.0)
    several = "-and-others" if together else ""
    folder = out or Path("runs") / f"benchmark-{given[0].stem}{several}"
    check_folder(folder)  # before the minutes of measuring
    if together:
        images = _choose(data, part)[1]
        compared = compare_files(given, threads, chosen, images, runtimes)
        names = write_comparison(compared, folder)
        show_comparison(compared, HarmlessConsole())
    else:
        own = runtimes[0].name if runtimes else None
        report = _measure(given[0], threads, chosen, own, data, part, unknown)
        names = write_report(report, folder)
        show_report(report, HarmlessConsole())
    echo(f"report: {harmless(folder)}: {', '.join(names)}")


def _measure(
    file: Path,
    threads: int,
    effort: Effort,
    runtime: str | None,
    data: Path | None,
    part: str | None,
    unknown: Path | None,
) -> Report:
    """Measure one file in this process: latency first, since scoring heats the processor."""
    classifier = Classifier(file, threads=threads, runtime=runtime)
    environment = Environment.current(runtime)
    facts, images = _choose(data, part)
    if facts is not None:  # before the minutes of measuring
        split_known(classifier.taxonomy, images)
    if unknown is not None:
        list_unknown_images(unknown)
    _log.info("measuring latency")
    before = Moment.now()
    latency = measure(file, threads=threads, effort=effort, runtime=runtime)
    load = measure_load(file, threads, effort, runtime)
    conditions = Conditions(before=before, after=Moment.now())
    return Report(
        file=FileFacts.of(classifier.model),
        environment=environment,
        conditions=conditions,
        latency=latency,
        load=load,
        data=facts,
        accuracy=score(classifier, images, unknown) if facts is not None else None,
    )


def _there(context: click.Context, host: str, together: bool) -> None:
    """Measure on another machine, by the same options; defaults are decided there."""
    from .remote import benchmark_there, default_folder

    asked = context.params
    try:
        check_host(host)
    except ValueError as error:
        raise click.UsageError(f"--host {host!r}: {error}") from error
    try:
        options = tuple(map(check_option, asked["ssh_options"]))
    except ValueError as error:
        raise click.UsageError(f"--ssh-option: {error}") from error
    facts, images = _choose(asked["data"], asked["part"])
    payload = Payload(
        files=asked["given"],
        options=_passed_on(context),
        data=asked["data"],
        part=None if facts is None else facts.part,
        pictures=images,
        unknown=asked["unknown"],
    )
    patience = PATIENCE if asked["give_up"] is None else asked["give_up"]
    link = Link(host=host, options=options, patience=patience)
    folder = asked["out"] or default_folder(payload, host)
    benchmark_there(link, payload, folder, asked["host_python"], together=together)


def _passed_on(context: click.Context) -> tuple[str, ...]:
    """Return the options that were given and are not about files, folders or the remote host."""
    words: list[str] = []
    for option in context.command.params:
        name = option.name or ""
        given = context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if name in HERE or not given or not isinstance(option, click.Option):
            continue
        value = context.params[name]
        if option.is_flag:
            words += option.opts if value == option.flag_value else []
            continue
        for one in value if option.multiple else (value,):
            words += [option.opts[0], str(one)]
    return tuple(words)


def _runtimes(given: str | None) -> tuple[Runtime, ...]:
    try:
        return () if given is None else Runtime.parse(given)
    except LmedgeError as error:
        raise click.UsageError(f"--runtime {given}: {error}") from error


def _choose(data: Path | None, part: str | None) -> tuple[DataFacts | None, list[LabelledImage]]:
    if data is None:
        return None, []
    if part is None and "test" in parts(data):
        part = "test"
    return DataFacts(path=data, part=part), scan(data, part)
