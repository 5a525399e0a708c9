"""`lmedge compare`."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lmedge.errors import LmedgeError, TrialError
from lmedge.files import check_writable
from lmedge.progress import progress

if TYPE_CHECKING:
    from .plan import Cell
    from .trial import Result

LOCK_SECONDS = 10.0  # a training whose parent was killed ends well within
logger = logging.getLogger(__name__)


@click.command(short_help="Train several settings on the same photographs and compare them.")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the results.  [default: runs/compare-DATA]",
)
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
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of every recipe. Repeatable.",
)
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
@click.option("--int8", is_flag=True, help="Export and score the int8 files too.")
@click.option(
    "--exclude",
    type=click.Path(path_type=Path),
    help="Images to leave out.  [default: DATA/exclude.txt if there]",
)
@click.option("--allow-leak", is_flag=True, help="Train although an image is in two parts.")
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
    int8: bool,
    exclude: Path | None,
    allow_leak: bool,
    keep_runs: bool,
) -> None:
    """Train every combination on DATA and say which differences are more than noise.

    What is in the folder of the results already is not run again: the same words go on after a
    kill, other words add to it. Ends with a table, results.csv, summary.csv, compare.json and
    compare.png.

    \b
    lmedge compare photographs --strategies all --folds 5
    lmedge compare photographs --recipes default,fast --seeds 3 --int8
    lmedge compare photographs --vary fine_tune.epochs=6,12 --vary data.balance=none,weights
    """  # noqa: D301  (click needs the control character)
    from .plan import cells_of, settings_of

    settings = settings_of(strategies, backbones, recipes, vary, changes, weights)
    folder = out or Path("runs") / f"compare-{data.resolve().name}"
    cells = cells_of(
        settings, data, folds=folds, seeds=seeds, exclude=exclude, allow_leak=allow_leak
    )
    check_writable(folder / "compare.json")
    with _alone(folder):
        results, failed = _run(cells, data, folder, int8, keep_runs)
        if results:
            _report(results, data, folder)
    if failed:
        raise LmedgeError(
            f"{len(failed)} of {len(cells)} runs did not end, {failed[0]} for one; the same "
            "command tries them again"
        )


def _run(
    cells: list[Cell], data: Path, folder: Path, int8: bool, keep: bool
) -> tuple[list[tuple[Cell, Result]], list[str]]:
    """Run what is missing; return the results and what failed. A setting that fails is left."""
    from .trial import known_result, run_cell

    known = {cell.key: known_result(folder / "runs" / cell.key, int8) for cell in cells}
    missing = sum(result is None for result in known.values())
    logger.info("%d runs, %d of them done before: %s", len(cells), len(cells) - missing, folder)
    found: list[tuple[Cell, Result]] = []
    failed: list[str] = []
    broken: set[int] = set()
    began, done = time.monotonic(), 0
    with progress("Comparing", missing) as advance:
        for cell in cells:
            result = known[cell.key]
            if result is None:
                if id(cell.setting) in broken:
                    failed.append(cell.key)
                    advance()
                    continue
                place = folder / "runs" / cell.key
                try:
                    result = run_cell(cell, data, place, int8=int8, keep=keep)
                except TrialError as error:
                    logger.warning("%s: %s", place, error)
                    failed.append(f"{cell.key} ({error})")
                    broken.add(id(cell.setting))
                    advance()
                    continue
                done += 1
                left = (time.monotonic() - began) / done * (missing - done - len(failed)) / 60
                logger.info(
                    "%d of %d: %s, %s: landmark %.3f, category %.3f (%.1f min; about %.0f left)",
                    done,
                    missing,
                    ", ".join(cell.setting.columns.values()),
                    cell.repeat.name,
                    result.landmark_f1,
                    result.category_f1,
                    result.train_seconds / 60,
                    left,
                )
                advance()
            found.append((cell, result))
    return found, failed


def _report(results: list[tuple[Cell, Result]], data: Path, folder: Path) -> None:
    from .plot import plot
    from .summary import summarise, write_files
    from .table import show

    summary = summarise(results)
    tests = results[0][1].test_pictures
    runs = max(len(row.results) for row in summary.rows)
    title = f"{data.resolve().name}: macro F1, float, {tests} test images, {runs} runs a setting"
    command = shlex.join(["lmedge", *sys.argv[1:]])
    paths = write_files(summary, data, command, folder)
    plot(summary, folder / "compare.png")
    show(summary, title if runs > 1 else title.replace("1 runs", "1 run"))
    names = ", ".join(path.name for path in [*paths, folder / "compare.png"])
    click.echo(f"{folder}: {names}")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder. Raises LmedgeError when another comparison is at work in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as stream:
        until = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > until:
                    raise LmedgeError(
                        f"another `lmedge compare` is at work in {folder}; wait for it or name "
                        "another folder with --out"
                    ) from error
                time.sleep(0.2)
        yield
