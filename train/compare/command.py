"""`lmedge compare`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lmedge.commands.options import allow_leak_option, exclude_option, out_option, set_option
from lmedge.errors import TrialError
from lmedge.files import check_writable, replacing_together
from lmedge.harmless import echo, harmless
from lmedge.report.failures import going_on_without
from lmedge.writers import alone

if TYPE_CHECKING:
    from .plan import Trial
    from .trial import TrialResult


@click.command(short_help="Train several settings on the same photographs and compare them.")
@click.argument("data", type=click.Path(path_type=Path))
@out_option("Folder of the results.  [default: runs/compare-DATA]")
@click.option(
    "--strategies",
    default="landmarks-first",
    show_default=True,
    metavar="A,B|all",
    help="Orders of the two tasks.",
)
@click.option("--backbones", metavar="A,B|all", help="Network bodies.  [default: the recipes']")
@click.option(
    "--recipes", default="default", show_default=True, metavar="A,B", help="Names or files."
)
@click.option(
    "--vary",
    multiple=True,
    metavar="KEY=A,B",
    help="Each value of a recipe's key in turn. Repeatable.",
)
@set_option("changes", "Change a value of every recipe. Repeatable.")
@click.option(
    "--folds",
    type=click.IntRange(2, 50),
    help="Cross-validate on all photographs.  [default: the recipe's split]",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="So many seeds, from 0: each another split and another training.",
)
@click.option(
    "--weights",
    multiple=True,
    metavar="[BACKBONE=]imagenet|none|PATH",
    help="As for `lmedge train`, of one backbone or of all. Repeatable.",
)
@click.option(
    "--cross-fit",
    is_flag=True,
    help="Let each run learn from all but the test images, as `lmedge train` does; otherwise a "
    "validation part is held back, in a third of the time.",
)
@click.option("--int8", is_flag=True, help="Export and score the int8 files too.")
@exclude_option
@allow_leak_option("Train although an image is in two parts.")
@click.option("--keep-runs", is_flag=True, help="Keep weights and files, about 20 MB a run.")
def compare(
    data: Path,
    out: Path | None,
    strategies: str,
    backbones: str | None,
    recipes: str,
    vary: tuple[str, ...],
    changes: tuple[str, ...],
    folds: int | None,
    seeds: int,
    weights: tuple[str, ...],
    cross_fit: bool,
    int8: bool,
    exclude: Path | None,
    allow_leak: bool,
    keep_runs: bool,
) -> None:
    """Train every combination on DATA and report which differences are more than noise.

    Runs whose results are in the folder already are not repeated. The same command continues after
    a kill, another one adds to the folder. The results are a table, results.csv, summary.csv,
    compare.json and compare.png.

    \b
    lmedge compare photographs --folds 5 --int8
    lmedge compare photographs --strategies all --folds 5
    lmedge compare photographs --recipes default,fast --seeds 3 --int8
    lmedge compare photographs --vary fine_tune.epochs=6,12 --vary data.balance=none,weights
    """  # noqa: D301  (click needs the control character)
    from .plan import check_weights, settings_of, trials_of
    from .trial import run_trials

    settings = settings_of(
        strategies=strategies,
        backbones=backbones,
        recipes=recipes,
        vary=vary,
        changes=changes if cross_fit else (*changes, "data.folds=0"),
        weights=weights,
    )
    check_weights(settings)
    folder = out or Path("runs") / f"compare-{data.resolve().name}"
    check_writable(folder / "compare.json")  # before the minutes of reading
    trials = trials_of(
        settings, data, folds=folds, seeds=seeds, exclude=exclude, allow_leak=allow_leak
    )
    with alone(folder, "lmedge compare"):
        results, failed = run_trials(trials, data, folder, int8=int8, keep=keep_runs)
        if results:
            _report(results, data, folder)
    if failed:
        raise TrialError(
            f"{len(failed)} of {len(trials)} runs did not end, {failed[0]} for one; the same "
            "command tries them again"
        )


def _report(results: list[tuple[Trial, TrialResult]], data: Path, folder: Path) -> None:
    from .plot import plot_comparison
    from .summary import summarise_trials, write_files
    from .table import print_comparison

    summary = summarise_trials(results)
    tests = results[0][1].test_pictures
    runs = max(len(row.results) for row in summary.rows)
    title = f"{data.resolve().name}: macro F1, float, {tests} test images, {runs} runs a setting"
    command = shlex.join(["lmedge", *sys.argv[1:]])
    with replacing_together(folder, "compare.json") as staged:
        paths = write_files(summary, data, command, staged)
        with going_on_without(folder / "compare.png"):
            plot_comparison(summary, staged / "compare.png")
            paths = [*paths, staged / "compare.png"]
    print_comparison(summary, title if runs > 1 else title.replace("1 runs", "1 run"))
    names = ", ".join(path.name for path in paths)
    echo(f"{harmless(folder)}: {names}")
