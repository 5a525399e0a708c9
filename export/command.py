"""`lmedge export`."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lmedge.commands.options import data_option, set_option, unknown_option
from lmedge.errors import GateError
from lmedge.evaluation.unknown import list_unknown_images
from lmedge.files import check_writable
from lmedge.harmless import echo, harmless, shell_words
from lmedge.rejection import COVERAGE

from . import FORMATS, IO
from .verification.gate import ENOUGH, Limits
from .verification.rejection import LEAST_UNKNOWN

if TYPE_CHECKING:
    from lmedge.train.run import Run

    from .exporting import Options
    from .selection import Budget


def _coverage(_: click.Context, param: click.Parameter, value: str) -> float | None:
    """Return per cent from 50 to 100 as a share in 0..1, and "auto" as None."""
    if value == "auto":
        return None
    try:
        share = float(value) / 100
    except ValueError:
        share = math.nan
    if not 0.5 <= share <= 1:
        raise click.BadParameter(f"allowed are auto and 50 to 100, not {value!r}", param=param)
    return share


@click.command(short_help="Make one int8 .tflite of a training run.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--int8", "name", flag_value="int8", help="The same as --format int8.")
@click.option(
    "--format",
    "name",
    type=click.Choice([*FORMATS, "all"]),
    help="; ".join(f"{name}: {meaning}" for name, meaning in FORMATS.items())
    + ". all: FILE-<format>.tflite of each.",
)
@click.option("--auto", is_flag=True, help="Try the formats and write the fastest that passes.")
@click.option(
    "--budget-ms",
    type=click.FloatRange(0, min_open=True),
    metavar="MS",
    help="With --auto: the most that an invoke may take on this machine, on one thread.",
)
@click.option(
    "--budget-mb",
    type=click.FloatRange(0, min_open=True),
    metavar="MB",
    help="With --auto: the most that the file may take.",
)
@click.option(
    "--size",
    "sizes",
    type=int,
    multiple=True,
    metavar="PIXELS",
    help="With --auto: a side of the input to try; repeatable. The fastest is taken whose log loss "
    "on the images that judge the file is, within noise, the least.  [default: the run's]",
)
@click.option(
    "--io",
    type=click.Choice(IO),
    default=IO[0],
    show_default=True,
    help="int8: int8 pixels in and int8 logits out, for integer-only accelerators.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.tflite",
    help="The file to write. [default: RUN/<run>-<format>.tflite]",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 100),
    default=100 * Limits.tolerance,
    show_default=True,
    help="Points of macro F1 that either head may lose, beyond doubt, before the file is refused.",
)
@click.option(
    "--class-tolerance",
    type=click.FloatRange(0, 100),
    default=100 * Limits.class_tolerance,
    show_default=True,
    help=f"Points of recall that a class of {ENOUGH} judged images or more may lose.",
)
@click.option(
    "--coverage",
    callback=_coverage,
    default=f"{100 * COVERAGE:g}",
    show_default=True,
    metavar="PER_CENT|auto",
    help='Per cent of rightly named landmark images that must not be called "not a landmark". '
    "auto: the one with the fewest mistakes: landmark images refused or wrong, and images of "
    "--unknown that pass.",
)
@data_option("Folder that the photographs of the run were moved to  [default: as in the run]")
@unknown_option("Images of anything else: every second one fits the threshold, the others test it.")
@set_option(
    "settings",
    "Change a value of the run's recipe for this export, e.g. quantize.epochs=5. Repeatable.",
)
@click.option(
    "--explain",
    is_flag=True,
    help="With --int8: print the tensors that quantization harms most, "
    "and write FILE.explain.csv and .png.",
)
@click.option(
    "--forget",
    is_flag=True,
    help="Store no features of the photographs: lmedge teach then adds nothing to the file.",
)
@click.option("--force", is_flag=True, help="Write the file even if it is refused.")
def export(
    run: Path,
    name: str | None,
    auto: bool,
    budget_ms: float | None,
    budget_mb: float | None,
    sizes: tuple[int, ...],
    io: str,
    output: Path | None,
    tolerance: float,
    class_tolerance: float,
    coverage: float | None,
    data: Path | None,
    unknown: Path | None,
    settings: tuple[str, ...],
    explain: bool,
    forget: bool,
    force: bool,
) -> None:
    """Quantize a finished RUN folder and write one .tflite that any TFLite client can run.

    The file is calibrated and fine-tuned on the run's training images. Then it is compared with the
    float network, on validation images or by out-of-fold predictions. It is not written if it lost
    more macro F1 than the tolerance, by the 95 % interval of the difference. FILE.export.json lists
    the losses.

    \b
    lmedge export runs/photographs --int8 -o landmarks.tflite
    lmedge export runs/photographs --format all
    lmedge export runs/photographs --auto --budget-ms 10 --budget-mb 6 -o landmarks.tflite
    lmedge export runs/photographs --int8 --set data.test_size=256
    """  # noqa: D301  (click needs the control character)
    _check(name, auto, budget_ms, budget_mb, io, explain, force)
    if coverage is None and unknown is None:
        raise click.UsageError("--coverage auto needs --unknown, to weigh those images too")
    if sizes and not auto:
        raise click.UsageError("--size needs --auto; with a format, --set data.test_size=PIXELS")
    chosen = "auto" if auto else name
    ending = "" if chosen == "all" else f"-{chosen}"
    path = output or run / f"{run.resolve().name}{ending}.tflite"
    if path.suffix != ".tflite":
        raise click.BadParameter("the file must end in .tflite", param_hint="--output")
    check_writable(path)
    others = [] if unknown is None else list_unknown_images(unknown, LEAST_UNKNOWN)
    # Imported here: `--help` needs no run folder, and a mistake in the arguments is reported before
    # TensorFlow's seconds.
    from lmedge.train.run import Run

    opened = Run.open(run).for_export(settings)
    if data is not None:
        opened = opened.moved_to(data)
    for size in sizes:
        opened.for_export([f"data.test_size={size}"])  # a size that is not allowed ends here
    opened.check_finished()
    if not (force or opened.judged):  # known now, and otherwise said after minutes of work
        raise GateError(
            f"{run}: it has neither a validation part nor out-of-fold predictions to judge a file "
            "by; train with more photographs of each landmark, or pass --force to write a file "
            "that nothing has judged"
        )
    opened.check_images()
    from .exporting import Options
    from .selection import Budget

    options = Options(
        limits=Limits(tolerance=tolerance / 100, class_tolerance=class_tolerance / 100),
        force=force,
        coverage=coverage,
        unknown=others,
        io=io,
        explain=explain,
        forget=forget,
    )
    _run(opened, path, chosen, options, Budget(milliseconds=budget_ms, megabytes=budget_mb), sizes)


def _check(
    name: str | None,
    auto: bool,
    budget_ms: float | None,
    budget_mb: float | None,
    io: str,
    explain: bool,
    force: bool,
) -> None:
    if auto == (name is not None):
        raise click.UsageError("pass --int8, --format NAME or --auto")
    if not auto and (budget_ms is not None or budget_mb is not None):
        raise click.UsageError("--budget-ms and --budget-mb need --auto")
    if io == "int8" and name != "int8":
        raise click.UsageError("--io int8 goes with --int8 alone: other formats compute in float")
    if explain and name != "int8":
        raise click.UsageError("--explain goes with --int8: it looks into the int8 network")
    if auto and force:
        raise click.UsageError("--auto chooses among files that pass; --force needs a format")


def _run(
    run: Run,
    path: Path,
    chosen: str | None,
    options: Options,
    budget: Budget,
    sizes: Sequence[int],
) -> None:
    from .exporting import export_format, report_path
    from .quantization.explain import explanation_path
    from .selection import export_all, export_fastest
    from .tables import print_candidates, print_noise, print_outcome

    began = time.monotonic()
    if chosen == "all":
        candidates = export_all(run, path, FORMATS, options)
        print_candidates(candidates)
        written = [one for one in candidates if options.force or one.passed]
        echo(f"exported in {(time.monotonic() - began) / 60:.1f} min, to {harmless(path.parent)}:")
        echo("\n".join(f"{harmless(path.stem)}-{one.format}.tflite" for one in written))
        return
    if chosen == "auto":
        candidates, best = export_fastest(run, path, FORMATS, options, budget, sizes)
        print_candidates(candidates)
        echo(
            f"chosen: {best.format}, {best.size} pixels, {best.milliseconds:.2f} ms, "
            f"{best.megabytes:.2f} MB"
        )
        outcome = best.outcome
    else:
        outcome = export_format(run, path, str(chosen), options)
    print_outcome(path, outcome)
    if outcome.noise:
        print_noise(outcome.noise)
        echo(f"all tensors: {harmless(explanation_path(path))}")
    if not outcome.findings.verdict.passed:
        echo(f"forced: {'; '.join(outcome.findings.verdict.problems)}", err=True)
    echo(f"exported in {(time.monotonic() - began) / 60:.1f} min: {harmless(path)}")
    echo(f"report: {harmless(report_path(path))}")
    echo(f"next: {shell_words('lmedge', 'predict', path, 'IMAGE')}")
