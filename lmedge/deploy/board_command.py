"""`lmedge board`: the part of a deployment that runs on the board itself."""

from __future__ import annotations

import functools
from pathlib import Path

import click

from ..commands.options import PATH
from ..errors import DeployError
from ..harmless import echo, json_text
from ..systemd import use_journal
from .install import Installer, roll_back
from .keeper import Keeper
from .look import board_facts
from .release import RELEASE_FILE, release_of
from .service import NAME, Service, ServiceOptions
from .state import Result
from .store import TRUSTED, Store, read_object

FOLDER = click.argument("folder", type=PATH)
SERVICE = click.option(
    "--service", default=NAME, show_default=True, metavar="NAME", help="Name of the unit."
)


@click.group()
def board() -> None:
    """Keep a release running on this board; `lmedge deploy` calls these commands there.

    FOLDER is the folder of the releases on this board.
    """


@board.command()
@FOLDER
def keep(folder: Path) -> int:
    """Run the camera of the current release, and go back if a new one does not prove itself.

    Start this under a supervisor that starts it again when it ends; a systemd unit does so. The
    exit code is that of `lmedge camera`, and 14 without a release that may run.
    """
    use_journal()
    return Keeper(_store(folder)).run()


@board.command()
@FOLDER
@click.argument("incoming", type=PATH)
@SERVICE
@click.option("--without-systemd", is_flag=True, help="Leave the keeper to another supervisor.")
@click.option("--memory-mb", type=click.IntRange(16), metavar="MB", help="Limit of the service.")
@click.option(
    "--cpu-percent", type=click.IntRange(1), metavar="PERCENT", help="Limit, 100 for one core."
)
@click.option(
    "--when-idle",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Wait so long at most until no landmark is shown.",
)
def install(
    folder: Path,
    incoming: Path,
    service: str,
    without_systemd: bool,
    memory_mb: int | None,
    cpu_percent: int | None,
    when_idle: float | None,
) -> None:
    """Check a release that lies in INCOMING, bring it into service, and watch it.

    One object of JSON a line is printed: each step, then the end.
    """
    store = Store(folder.absolute())
    store.prepare()
    release = release_of(read_object(incoming / RELEASE_FILE), incoming / RELEASE_FILE)
    options = ServiceOptions(
        name=service, stall=release.stall, memory_mb=memory_mb, cpu_percent=cpu_percent
    )
    unit = None if without_systemd else Service(store, options)
    if unit is not None and not unit.available():
        unit = None
    offered = incoming / TRUSTED
    key = offered.read_text("utf-8") if offered.is_file() else None
    step = functools.partial(_print, "step")
    installer = Installer(store, unit, step, when_idle=when_idle, key=key)
    try:
        ended = installer.install(release, incoming / release.file)
    except DeployError as error:
        _end(Result.REFUSED, error.reason, str(error))
        raise
    if ended is None:
        _print("waiting", f"{store.folder}/keeper/run board keep {store.folder}")
        return
    _end(ended.result, ended.reason, ended.detail)
    if ended.result is not Result.GOOD:
        raise DeployError(ended.detail, ended.reason)


@board.command()
@FOLDER
@SERVICE
def status(folder: Path, service: str) -> None:
    """Print the facts of this board and its releases, as JSON."""
    echo(json_text(board_facts(str(folder), service), indent=2))


@board.command()
@FOLDER
@SERVICE
def rollback(folder: Path, service: str) -> None:
    """Go back to the good release before the current one."""
    store = _store(folder)
    unit: Service | None = Service(store, ServiceOptions(name=service))
    assert unit is not None
    echo(f"release {roll_back(store, unit if unit.available() else None)[:12]}")


@board.command()
@FOLDER
@SERVICE
def remove(folder: Path, service: str) -> None:
    """Stop the service and remove its unit; the files in FOLDER stay."""
    unit = Service(_store(folder), ServiceOptions(name=service))
    if unit.available():
        unit.remove()
    echo(f"removed {unit.unit}")


def _store(folder: Path) -> Store:
    store = Store(folder.absolute())
    if not store.releases.is_dir():
        raise DeployError(f"{folder}: holds no releases; deploy one")
    return store


def _end(result: Result, reason: str | None, detail: str) -> None:
    echo(json_text({"result": result, "reason": reason, "detail": detail}))


def _print(key: str, value: str) -> None:
    echo(json_text({key: value}))
