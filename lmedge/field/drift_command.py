"""`lmedge drift`: the predictions of a file in the field, over time."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from ..classifier import Classifier
from ..commands.options import data_option, part_option, threads_option
from ..errors import RegressionError
from ..harmless import echo
from .drift import PERIODS, Drift, measure_drift
from .drift_report import write_drift
from .periods import FieldEstimate, FieldPeriod

_log = logging.getLogger(__name__)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tflite")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@data_option("Photographs to compare with  [default: the figures of the tests in FILE.tflite]")
@part_option("The part of these photographs.")
@click.option(
    "--period",
    type=click.Choice(PERIODS),
    help="Length of a period  [default: by the time from the first image to the last]",
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Write a page and its figures."
)
@click.option(
    "--fail-over",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="End with exit code 12 if the newest period is worse by more, beyond doubt.",
)
@threads_option
def drift(
    file: Path,
    folder: Path,
    data: Path | None,
    part: str | None,
    period: str | None,
    out: Path | None,
    fail_over: float | None,
    threads: int | None,
) -> None:
    """Show what FILE.tflite predicts for the images of `lmedge camera --collect`, over time.

    Only the images that were drawn at random count. Each period has the share of unknown images,
    the mean probability and the shares of the landmarks, with 95 % intervals. The newest is
    compared with photographs that the file was tested on.

    \b
    lmedge drift landmarks.tflite field --data photographs --part test --out drift
    lmedge drift landmarks.tflite field --fail-over 0.1
    """  # noqa: D301 - click's mark, the character itself
    if part is not None and data is None:
        raise click.UsageError("--part needs --data")
    classifier = Classifier(file, threads=threads, top=1)
    found = measure_drift(classifier, folder, data=data, part=part, period=period)
    _print(found)
    if out is not None:
        for name in write_drift(found, classifier.taxonomy, out):
            _log.info("wrote %s", out / name)
    if fail_over is None:
        return
    if found.reference is None:
        raise click.UsageError(
            f"--fail-over: {file} has no figures of test photographs; name some with --data"
        )
    if worse := found.worse(fail_over):
        lines = "; ".join(
            f"{one.figure} {one.value:+.3f} ({one.interval[0]:+.3f} to {one.interval[1]:+.3f})"
            for one in worse
        )
        raise RegressionError(f"{found.newest.name}: worse by more than {fail_over:g}: {lines}")


def _print(found: Drift) -> None:
    rows = [] if found.reference is None else [found.reference]
    width = max(len(one.name) for one in [*rows, *found.periods])
    echo(f"{'':{width}}  images  scenes  {'unknown, 95 %':24}  mean probability, 95 %")
    for one in [*rows, *found.periods]:
        echo(_line(one, width))
    for change in found.changes():
        low, high = change.interval
        echo(f"{change.figure}: {change.value:+.3f} ({low:+.3f} to {high:+.3f})")
    if found.reference is None:
        echo("nothing to compare with: name test photographs with --data")
    if found.left_out:
        _log.info("%d images that were not drawn at random do not count", found.left_out)
    if found.unreadable:
        _log.warning("%d images could not be read", found.unreadable)


def _line(one: FieldPeriod, width: int) -> str:
    probability = "" if one.confidence is None else _figure(one.confidence)
    return (
        f"{one.name:{width}}  {one.images:6d}  {one.bursts:6d}  {_figure(one.unknown):24}  "
        f"{probability}"
    ).rstrip()


def _figure(one: FieldEstimate) -> str:
    return f"{one.value:.3f} ({one.interval[0]:.3f} to {one.interval[1]:.3f})"
