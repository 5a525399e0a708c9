"""`lmedge export`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lmedge.files import check_writable

from .format_names import FORMATS, IO, MEANING

if TYPE_CHECKING:
    from lmedge.train.run import Run

    from .exporting import Options


@click.command(short_help="Make one int8 .tflite of a training run.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--int8", "name", flag_value="int8", help="The same as --format int8.")
@click.option(
    "--format",
    "name",
    type=click.Choice([*FORMATS, "all"]),
    help="; ".join(f"{name}: {said}" for name, said in MEANING.items())
    + ". all: FILE-<format>.tflite of each.",
)
@click.option("--auto", is_flag=True, help="Try the formats, write the fastest that passes.")
@click.option(
    "--budget-ms",
    type=click.FloatRange(0, min_open=True),
    metavar="MS",
    help="With --auto: the most an invoke may take on this machine, on one thread.",
)
@click.option(
    "--budget-mb",
    type=click.FloatRange(0, min_open=True),
    metavar="MB",
    help="With --auto: the most the file may take.",
)
@click.option(
    "--io",
    type=click.Choice(IO),
    default="uint8",
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
    default=0.5,
    show_default=True,
    help="Points of macro F1 either head may lose, beyond doubt, before the file is refused.",
)
@click.option(
    "--class-tolerance",
    type=click.FloatRange(0, 100),
    default=20.0,
    show_default=True,
    help="Points of recall that a class of 10 validation images or more may lose.",
)
@click.option(
    "--coverage",
    type=click.FloatRange(50, 100),
    default=95.0,
    show_default=True,
    help='Per cent of landmark images that must not be called "not a landmark".',
)
@click.option(
    "--strangers",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Images of anything else: every second one fits the threshold, the others test it.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the run's recipe for this export, e.g. quantize.epochs=5. Repeatable.",
)
@click.option(
    "--explain",
    is_flag=True,
    help="With --int8: print where quantization adds error, write FILE.explain.csv and .png.",
)
@click.option("--force", is_flag=True, help="Write the file even when it is refused.")
def export(
    run: Path,
    name: str | None,
    auto: bool,
    budget_ms: float | None,
    budget_mb: float | None,
    io: str,
    output: Path | None,
    tolerance: float,
    class_tolerance: float,
    coverage: float,
    strangers: Path | None,
    settings: tuple[str, ...],
    explain: bool,
    force: bool,
) -> None:
    """Quantize a finished RUN folder and write one .tflite that any TFLite client can run.

    The file is calibrated and fine-tuned on the run's training images, then run itself on the
    validation images. If the 95 % interval of the difference says that it lost more macro F1
    than the tolerance, it is not written; FILE.export.json says what fell.

    \b
    lmedge export runs/photographs --int8 -o landmarks.tflite
    lmedge export runs/photographs --format all
    lmedge export runs/photographs --auto --budget-ms 10 --budget-mb 6 -o landmarks.tflite
    """  # noqa: D301  (click needs the control character)
    _check(name, auto, budget_ms, budget_mb, io, force)
    if explain and name != "int8":
        raise click.UsageError("--explain goes with --int8: it looks into the int8 network")
    chosen = "auto" if auto else name
    path = output or run / (
        f"{run.resolve().name}.tflite"
        if chosen == "all"
        else f"{run.resolve().name}-{chosen}.tflite"
    )
    if path.suffix != ".tflite":
        raise click.BadParameter("the file must end in .tflite", param_hint="--output")
    # Imported here: a mistake in the arguments is said before TensorFlow's seconds.
    from lmedge.train.run import Run

    from .exporting import Options
    from .verification.gate import Limits

    opened = Run.open(run).with_settings(settings)
    check_writable(path)
    limits = Limits(tolerance / 100, class_tolerance / 100)
    options = Options(limits, force, coverage / 100, strangers, io, explain)
    _run(opened, path, chosen, options, budget_ms, budget_mb)


def _check(
    name: str | None,
    auto: bool,
    budget_ms: float | None,
    budget_mb: float | None,
    io: str,
    force: bool,
) -> None:
    if auto == (name is not None):
        raise click.UsageError("pass --int8, --format NAME or --auto")
    if not auto and (budget_ms is not None or budget_mb is not None):
        raise click.UsageError("--budget-ms and --budget-mb need --auto")
    if io == "int8" and name != "int8":
        raise click.UsageError("--io int8 goes with --int8 alone: other formats compute in float")
    if auto and force:
        raise click.UsageError("--auto chooses among files that pass; --force needs a format")


def _run(
    run: Run,
    path: Path,
    chosen: str | None,
    options: Options,
    budget_ms: float | None,
    budget_mb: float | None,
) -> None:
    from .exporting import export as export_one
    from .exporting import export_all, export_fastest, report_path
    from .quantization.explain import explanation_path
    from .selection import Budget
    from .tables import show, show_noise, show_rungs

    began = time.monotonic()
    if chosen == "all":
        rungs = export_all(run, path, FORMATS, options)
        show_rungs(rungs)
        names = [f"{path.stem}-{rung.format}" for rung in rungs if options.force or rung.passed]
        click.echo(f"exported in {(time.monotonic() - began) / 60:.1f} min, to {path.parent}:")
        click.echo("\n".join(f"{name}.tflite" for name in names))
        return
    if chosen == "auto":
        rungs, best = export_fastest(run, path, FORMATS, options, Budget(budget_ms, budget_mb))
        show_rungs(rungs)
        click.echo(f"chosen: {best.format}, {best.milliseconds:.2f} ms, {best.megabytes:.2f} MB")
        outcome = best.outcome
    else:
        outcome = export_one(run, path, str(chosen), options)
    show(path, outcome)
    if outcome.noise:
        show_noise(outcome.noise)
        click.echo(f"all tensors: {explanation_path(path)}")
    if not outcome.verdict.passed:
        click.echo(f"forced: {'; '.join(outcome.verdict.problems)}", err=True)
    click.echo(f"exported in {(time.monotonic() - began) / 60:.1f} min: {path}")
    click.echo(f"report: {report_path(path)}")
    click.echo(f"next: lmedge predict {path} IMAGE")
