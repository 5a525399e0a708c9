"""`lmedge doctor`: the state of this installation, and the steps that are missing."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
from collections.abc import Sequence

import click

from ..harmless import echo, harmless, json_text
from . import checks, packages
from .packages import Diagnosis

_COLOURS = {"ok": "green", "missing": "yellow", "action": "red"}
_STATUS = 9  # cells of the first column


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Findings that belong together."""

    name: str
    diagnoses: tuple[Diagnosis, ...]


def diagnose() -> tuple[Group, ...]:
    """Run every check, which takes up to a minute and a half if a GPU must be asked for."""
    examine = checks.examine
    device = (
        checks.check_python,
        packages.check_numpy,
        packages.check_opencv,
        packages.check_heic,
        checks.check_runtime,
        checks.check_cache,
        checks.check_camera,
        checks.check_display,
    )
    host = (
        packages.check_tensorflow,
        packages.check_tools,
        checks.check_gpu,
        checks.check_weights_file,
    )
    return (
        Group(name="device", diagnoses=tuple(examine(check) for check in device)),
        Group(name="training", diagnoses=tuple(examine(check) for check in host)),
    )


def can_run(groups: Sequence[Group]) -> bool:
    """Return True if nothing keeps the device part from running."""
    return not any(diagnosis.blocks for group in groups for diagnosis in group.diagnoses)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> int:
    """Show what is installed, what is missing, and what to do about it.

    The exit code is 0 if `lmedge predict` and `lmedge camera` can run here, otherwise 1.
    """
    groups = diagnose()
    runs = can_run(groups)
    if as_json:
        content = {
            "device_can_run": runs,
            **{
                group.name: [dataclasses.asdict(diagnosis) for diagnosis in group.diagnoses]
                for group in groups
            },
        }
        echo(json_text(content, indent=2))
    else:
        _print(groups, runs)
    return 0 if runs else 1


def _print(groups: Sequence[Group], runs: bool) -> None:
    width = min(100, shutil.get_terminal_size().columns)
    column = 2 + max(len(diagnosis.name) for group in groups for diagnosis in group.diagnoses)
    for group in groups:
        click.echo(click.style(group.name, bold=True))
        for diagnosis in group.diagnoses:
            for line in _lines(diagnosis, column, width):
                click.echo(line)
        echo()
    if runs:
        echo("lmedge predict and lmedge camera can run here.")
    else:
        echo("lmedge cannot run here until what is marked required is installed.")


def _lines(diagnosis: Diagnosis, column: int, width: int) -> list[str]:
    name = diagnosis.name.ljust(column)
    indent = " " * (2 + _STATUS + column)
    status = click.style(diagnosis.status.ljust(_STATUS), fg=_COLOURS[diagnosis.status])
    detail = harmless(diagnosis.detail) + (" (required)" if diagnosis.blocks else "")
    room = max(20, width - len(indent))
    lines = textwrap.wrap(detail, room, break_on_hyphens=False) or [""]
    lines += textwrap.wrap(
        f"-> {harmless(diagnosis.action)}" if diagnosis.action else "",
        room,
        subsequent_indent="   ",
        break_long_words=False,  # a command or an address must be copied whole
        break_on_hyphens=False,
    )
    return [f"  {status}{name}{lines[0]}", *(indent + line for line in lines[1:])]
