"""`lmedge fleet`: the boards of fleet.toml, asked and led back."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click
from rich.table import Table

from ..commands.options import PATH
from ..errors import DeployError, LmedgeError
from ..files import check_folder
from ..harmless import echo, harmless, json_text
from ..report.terminal import HarmlessConsole, print_line
from .command import AT_ONCE
from .fleet import COLUMNS, BoardStatus, Visit, describe
from .fleet_file import read_fleet
from .plan import BoardPlan

T = TypeVar("T")
_PATIENCE = 10.0  # seconds for a board that does not answer
_log = logging.getLogger(__name__)
FILE = click.argument("file", type=PATH, metavar="fleet.toml")
BOARDS = click.argument("boards", nargs=-1, metavar="[BOARD]...")
ALL = click.option("--all", "every", is_flag=True, help="All boards of the file.")


@click.group()
def fleet() -> None:
    """Ask the boards of fleet.toml how they are, and lead them back.

    BOARD is a name in the file; without one, all boards are asked. The exit code is 14 if a board
    is not reached or not well.
    """


@fleet.command("status")
@FILE
@BOARDS
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a board.")
def status_boards(file: Path, boards: tuple[str, ...], as_json: bool) -> None:
    """Show release, frames a second, temperature, unknown share, disk and last error of each."""
    plans = read_fleet(file, boards)
    found = [
        BoardStatus(board=plan.name, reached=False, detail=str(end))
        if isinstance(end, LmedgeError)
        else end
        for plan, end in zip(plans, _visit(plans, lambda visit: visit.status()), strict=True)
    ]
    if as_json:
        for one in found:
            echo(json_text(dataclasses.asdict(one)))
    else:
        _show(found)
    _fail([one.board for one in found if not one.well], len(plans), "are not well")


@fleet.command("logs")
@FILE
@BOARDS
@click.option("-n", "lines", type=click.IntRange(1, 10_000), default=20, show_default=True)
def logs_boards(file: Path, boards: tuple[str, ...], lines: int) -> None:
    """Print the last decisions of each board, and the last lines of its journal."""
    plans = read_fleet(file, boards)
    _print(plans, _visit(plans, lambda visit: visit.log(lines)))


@fleet.command("rollback")
@FILE
@BOARDS
@ALL
def rollback_boards(file: Path, boards: tuple[str, ...], every: bool) -> None:
    """Go back to the good release before the current one."""
    plans = read_fleet(file, _named(boards, every))
    _print(plans, _visit(plans, lambda visit: visit.board("rollback", visit.facts.folder)))


@fleet.command("remove")
@FILE
@BOARDS
@ALL
@click.option("--purge", is_flag=True, help="Delete the folder on the board too.")
def remove_boards(file: Path, boards: tuple[str, ...], every: bool, purge: bool) -> None:
    """Stop the service and remove its unit; the folder stays unless --purge is given."""
    plans = read_fleet(file, _named(boards, every))

    def gone(visit: Visit) -> str:
        visit.remove(purge=purge)
        return f"removed {visit.plan.service.name}.service"

    _print(plans, _visit(plans, gone))


@fleet.command("pull")
@FILE
@BOARDS
@click.option(
    "-o", "--out", type=PATH, required=True, metavar="DIR", help="Folder; one for each board in it."
)
@click.option(
    "--delete", is_flag=True, help="Delete frames there after their bytes were compared here."
)
def pull_boards(file: Path, boards: tuple[str, ...], out: Path, delete: bool) -> None:
    """Bring home what boards have collected with the key `collect`, and what they were taught.

    With the key `teach`, the taught file goes to DIR/BOARD/taught/ and runs its golden images here.
    With `teach-photographs`, those of the lessons go to DIR/BOARD/photographs/. A second call
    copies what is new, and goes on where a lost connection ended the first.
    """
    plans = read_fleet(file, boards)
    check_folder(out)

    def bring(visit: Visit) -> str:
        def step(text: str) -> None:
            _log.info("%s: %s", visit.plan.name, text)

        found = visit.pull(out / visit.plan.name, delete=delete, step=step)
        lines = [f"{found.came} new files" + (f", {found.gone} deleted there" if delete else "")]
        lines += [f"taught: {path}" for path in found.taught]
        return "\n".join(lines)

    _print(plans, _visit(plans, bring))


def _named(boards: Sequence[str], every: bool) -> Sequence[str]:
    if bool(boards) == every:
        raise click.UsageError("name the boards, or pass --all")
    return boards


def _visit(plans: Sequence[BoardPlan], work: Callable[[Visit], T]) -> list[T | LmedgeError]:
    """Return what `work` gives for each board, or its error; several boards at a time."""
    interactive = len(plans) == 1 and sys.stdin.isatty()

    def one(plan: BoardPlan) -> T | LmedgeError:
        try:
            with Visit(plan, patience=_PATIENCE, interactive=interactive) as visit:
                return work(visit)
        except LmedgeError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, plans))


def _print(plans: Sequence[BoardPlan], ends: Sequence[str | LmedgeError]) -> None:
    """Print the lines of each board, with its name before them, and fail if one failed."""
    for plan, end in zip(plans, ends, strict=True):
        for line in str(end).splitlines():
            echo(f"{harmless(plan.name)}: {line}")
    failed = [plan.name for plan, end in zip(plans, ends, strict=True) if not isinstance(end, str)]
    _fail(failed, len(plans), "failed")


def _fail(names: Sequence[str], count: int, what: str) -> None:
    if names:
        raise DeployError(f"{len(names)} of {count} boards {what}: {', '.join(names)}")


def _show(found: Sequence[BoardStatus]) -> None:
    console = HarmlessConsole()
    rows = [COLUMNS, *(tuple(describe(one)) for one in found)]
    if not console.is_terminal:  # in a pipe each board stays one line
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print_line(console, line.rstrip())
        return
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for name in COLUMNS:
        table.add_column(name, overflow="fold")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)
