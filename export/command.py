"""`lmedge export`."""

from __future__ import annotations

import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lmedge.files import check_writable


@click.command(short_help="Make one int8 .tflite of a training run.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--int8", "int8", is_flag=True, required=True, help="Quantize to int8.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.tflite",
    help="The file to write. [default: RUN/<run>-int8.tflite]",
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
    help="Points of recall that a class of 10 validation pictures or more may lose.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the run's recipe for this export, e.g. quantize.epochs=5. Repeatable.",
)
@click.option("--force", is_flag=True, help="Write the file even when it is refused.")
def export(
    run: Path,
    int8: bool,
    output: Path | None,
    tolerance: float,
    class_tolerance: float,
    settings: tuple[str, ...],
    force: bool,
) -> None:
    """Quantize a finished RUN folder and write one .tflite that any TFLite client can run.

    The file is calibrated and fine-tuned on the run's training pictures, then run itself on the
    validation pictures. If the 95 % interval of the difference says that it lost more macro F1
    than the tolerance, it is not written; FILE.export.json says what fell.

    Example: lmedge export runs/photographs --int8 -o landmarks.tflite
    """
    path = output or run / f"{run.resolve().name}-int8.tflite"
    if path.suffix != ".tflite":
        raise click.BadParameter("the file must end in .tflite", param_hint="--output")
    # Imported here: a mistake in the arguments is said before TensorFlow's seconds.
    from ..train.run import Run
    from .card import Outcome
    from .exporting import export as export_run
    from .exporting import report_path
    from .gate import Limits

    opened = Run.open(run).with_settings(settings)
    check_writable(path)
    began = time.monotonic()
    limits = Limits(tolerance / 100, class_tolerance / 100)
    outcome: Outcome = export_run(opened, path, limits=limits, force=force)
    table = Table(title=f"{path.name}: {len(outcome.data) / 1e6:.2f} MB, int8")
    for column in ("part", "pictures", "head", "float F1", "int8 F1", "change", "agreement"):
        table.add_column(column, justify="left" if column in ("part", "head") else "right")
    for comparison in outcome.comparisons:
        for head in ("landmark", "category"):
            before = getattr(comparison.float_scores, head)
            after = getattr(comparison.file_scores, head)
            table.add_row(
                comparison.part,
                str(before.n),
                head,
                f"{before.macro_f1:.3f}",
                f"{after.macro_f1:.3f}",
                f"{100 * (after.macro_f1 - before.macro_f1):+.1f}",
                f"{100 * comparison.agreement[head]:.1f} %",
            )
    Console(highlight=False).print(table)
    for change in outcome.verdict.changes:
        click.echo(f"validation part, {change.describe()}")
    if not outcome.verdict.passed:
        click.echo(f"forced: {'; '.join(outcome.verdict.problems)}", err=True)
    click.echo(f"exported in {(time.monotonic() - began) / 60:.1f} min: {path}")
    click.echo(f"report: {report_path(path)}")
    click.echo(f"next: lmedge predict {path} PICTURE")
