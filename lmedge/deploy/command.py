"""`lmedge deploy`: a file onto one board or many, and a table of what became of it."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..commands.options import PATH, set_option
from ..errors import DeployError, HostError
from ..harmless import echo, harmless, json_text
from ..model_file import read_model
from ..remote.link import PATIENCE, check_host, check_option
from .fleet_file import read_fleet
from .plan import WATCH, BoardPlan, check_value, plan_of
from .session import BoardResult, DeployOptions, Done, deploy_to
from .sign_command import read_public_key, verify_file
from .table import ProgressTable, show_results

AT_ONCE = 8
_log = logging.getLogger(__name__)


@click.command()
@click.argument("file", type=PATH, metavar="FILE.tflite")
@click.option(
    "--host", "hosts", multiple=True, metavar="USER@BOARD", help="A board, by ssh. Repeatable."
)
@click.option("--fleet", type=PATH, metavar="fleet.toml", help="The boards of a file.")
@click.option(
    "--only", multiple=True, metavar="NAME", help="With --fleet: this board alone. Repeatable."
)
@set_option("settings", "With --host: a key of fleet.toml, such as source=picamera2.")
@click.option("--check", is_flag=True, help="Change nothing; show what would be done.")
@click.option(
    "--canary",
    is_flag=True,
    help="Deploy to the first board alone; go on to the others if it proves itself there.",
)
@click.option(
    "--budget-ms",
    type=click.FloatRange(0, min_open=True),
    metavar="MS",
    help="What a classification may take at the 90th percentile, measured on the board.",
)
@click.option(
    "--watch",
    type=click.FloatRange(0, 3600, min_open=True),
    metavar="SECONDS",
    help=f"Frames in which a release proves itself  [default: {WATCH:g}]",
)
@click.option(
    "--when-idle",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Wait so long at most until a board shows no landmark.",
)
@click.option(
    "--wheelhouse",
    type=PATH,
    metavar="DIR",
    help="Fetch the packages here into DIR and send them, for boards without a package index.",
)
@click.option(
    "--host-python", metavar="PATH", help="With --host: the Python there  [default: it is found]"
)
@click.option(
    "--ssh-option",
    "ssh_options",
    metavar="KEY=VALUE",
    multiple=True,
    help="With --host: an option of ssh_config, for example Port=2222. Repeatable.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    default=AT_ONCE,
    show_default=True,
    help="Boards at a time.",
)
@click.option(
    "--give-up",
    type=click.FloatRange(0),
    default=PATIENCE,
    show_default=True,
    metavar="SECONDS",
    help="How long to try to reach a lost board again.",
)
@click.option(
    "--key",
    type=PATH,
    metavar="NAME.pub",
    help="Let the boards learn this public key: from then on they run signed files alone.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a board.")
def deploy(
    file: Path,
    hosts: tuple[str, ...],
    fleet: Path | None,
    only: tuple[str, ...],
    settings: tuple[str, ...],
    check: bool,
    canary: bool,
    budget_ms: float | None,
    watch: float | None,
    when_idle: float | None,
    wheelhouse: Path | None,
    host_python: str | None,
    ssh_options: tuple[str, ...],
    at_once: int,
    give_up: float,
    key: Path | None,
    as_json: bool,
) -> None:
    """Put a file into service on boards, over ssh, and watch it there.

    Each board checks the file before anything changes: its bytes, its golden answers, its speed,
    a frame of the camera. It then switches, and goes back by itself if the camera is not well. A
    board that has the file is left as it is. The exit code is 14 if a board does not run the file.

    \b
    lmedge deploy landmarks.tflite --host pi@raspberrypi.local --set source=picamera2
    lmedge deploy landmarks.tflite --fleet fleet.toml --check
    lmedge deploy landmarks.tflite --fleet fleet.toml --canary --budget-ms 60
    """  # noqa: D301  (click needs the control character)
    changes = {"budget-ms": budget_ms, "watch": watch}
    changes = {key: value for key, value in changes.items() if value is not None}
    if (fleet is None) == (not hosts):
        raise click.UsageError("pass --host USER@BOARD, or --fleet fleet.toml")
    if fleet is not None:
        if settings or host_python is not None or ssh_options:
            raise click.UsageError("with --fleet, write these settings into the file")
        plans = tuple(_with(plan, changes) for plan in read_fleet(fleet, only))
    else:
        if only:
            raise click.UsageError("--only needs --fleet")
        plans = _plans_of_hosts(hosts, settings, host_python, ssh_options, changes)
    read_model(file)  # an unusable file is an error before any board is asked
    public = None if key is None else read_public_key(key)
    if public is not None:
        verify_file(file, public)
    options = DeployOptions(
        file=file,
        check=check,
        wheelhouse=wheelhouse,
        when_idle=when_idle,
        patience=give_up,
        interactive=len(plans) == 1 and sys.stdin.isatty(),
        key=None if public is None else public.text(),
    )
    results = deploy_to_all(plans, options, at_once=at_once, canary=canary)
    if as_json:
        for result in results:
            echo(json_text(dataclasses.asdict(result)))
    else:
        show_results(results)
    _raise_for(results)


def deploy_to_all(
    plans: Sequence[BoardPlan], options: DeployOptions, *, at_once: int, canary: bool
) -> list[BoardResult]:
    """Deploy to several boards at a time, and return their ends in the order of the plans."""
    with ProgressTable([plan.name for plan in plans]) as table:

        def one(plan: BoardPlan) -> BoardResult:
            result = deploy_to(plan, options, functools.partial(table.step, plan.name))
            table.step(plan.name, result.done.value)
            return result

        first = [one(plans[0])] if canary and len(plans) > 1 else []
        if any(result.failed for result in first):
            note = f"since {plans[0].name} failed"
            rest = [BoardResult(board=plan.name, done=Done.LEFT, detail=note) for plan in plans[1:]]
            return [*first, *rest]
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            futures = [pool.submit(one, plan) for plan in plans[len(first) :]]
            try:
                return [*first, *(future.result() for future in futures)]
            except BaseException:
                options.interrupted.set()
                for future in futures:
                    future.cancel()
                raise


def _plans_of_hosts(
    hosts: Sequence[str],
    settings: Sequence[str],
    python: str | None,
    ssh_options: Sequence[str],
    changes: dict[str, Any],
) -> tuple[BoardPlan, ...]:
    values: dict[str, Any] = dict(changes)
    for setting in settings:
        key, equals, text = setting.partition("=")
        try:
            if not equals:
                raise ValueError("write it as KEY=VALUE")
            values[key] = check_value(key, _value(text))
        except ValueError as error:
            raise click.UsageError(f"--set {setting}: {key} {error}") from error
    if python is not None:
        values["python"] = python
    try:
        values["ssh-options"] = tuple(map(check_option, ssh_options))
        for host in hosts:
            check_host(host)
    except ValueError as error:
        raise click.UsageError(f"--host or --ssh-option: {error}") from error
    if len(set(hosts)) < len(hosts):
        raise click.UsageError("a board is named twice")
    return tuple(plan_of(host, {**values, "host": host}) for host in hosts)


def _value(text: str) -> Any:
    """Return the value of a setting as fleet.toml would have it: true, a number, or text."""
    if text in {"true", "false"}:
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _with(plan: BoardPlan, changes: dict[str, Any]) -> BoardPlan:
    return dataclasses.replace(
        plan, **{key.replace("-", "_"): value for key, value in changes.items()}
    )


def _raise_for(results: Sequence[BoardResult]) -> None:
    """Raise the error of the command if a board does not run the file."""
    failed = [result for result in results if result.failed]
    if not failed:
        return
    if len(results) == 1:
        line = f"{failed[0].board}: {failed[0].detail}"
        raise HostError(line) if failed[0].done is Done.LOST else DeployError(line)
    names = ", ".join(harmless(result.board) for result in failed)
    raise DeployError(f"{len(failed)} of {len(results)} boards do not run it: {names}")
