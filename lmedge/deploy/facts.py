"""The facts of a board as `look.py` printed them, checked: a board may send anything."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ..errors import HostError
from ..harmless import harmless, harmless_values
from ..remote.host import RemoteHost, RemotePython
from .release import Release, release_of
from .service import NAME
from .state import State, state_of

PROGRAM = Path(__file__).with_name("look.py")
MACHINES = {"aarch64", "arm64", "x86_64"}  # for which LiteRT has packages


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoardFacts:
    """The facts of a board.

    Attributes:
        machine: Architecture, as `uname -m` gives it.
        system: Name of the system.
        bits: 32 or 64 of its Python.
        root: True if the user there is root.
        uptime: Seconds since the boot.
        boot: Identity of the boot.
        celsius: Temperature of the processor.
        warnings: Problems of power, heat and clock.
        free_mb: Free megabytes of the disk that holds the folder.
        cameras: Names of video devices.
        picamera2: True if Python's picamera2 is installed there.
        systemd: True if the service manager answers.
        linger: True if the user's services start with the board.
        active: State of the service.
        unit: Text of its unit.
        folder: Absolute path of the folder.
        current: Name of the release in use.
        keeper: Name of the environment that decides.
        state: The state of the releases.
        release: The release in use.
        health: The object of its status file.
        failures: The object of the failed starts since the camera was last well.
        trusted: Text of the public key that the board has learned.
        environments: Names of the environments that are complete.
    """

    machine: str
    system: str
    bits: int
    root: bool
    uptime: float | None
    boot: str
    celsius: float | None
    warnings: tuple[str, ...]
    free_mb: int | None
    cameras: tuple[str, ...]
    picamera2: bool
    systemd: bool
    linger: bool
    active: str
    unit: str
    folder: str
    current: str | None
    keeper: str | None
    state: State
    release: Release | None
    health: dict[str, Any]
    failures: dict[str, Any]
    trusted: str
    environments: tuple[str, ...]


def read_facts(
    remote: RemoteHost, python: RemotePython, folder: str = "", service: str = NAME
) -> BoardFacts:
    """Ask a board for its facts. Raises HostError if it does not give them."""
    text = remote.ask(python, PROGRAM.read_text("utf-8"), [folder, service])
    try:
        return facts_of(json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise HostError(f"{remote.host}: gave no facts ({harmless(error)})") from error


def facts_of(found: Any) -> BoardFacts:
    """Return the facts in a value of JSON. Raises ValueError if one is missing or odd."""
    if not isinstance(found, dict):
        raise ValueError("no object")
    values: dict[str, Any] = {}
    for field in dataclasses.fields(BoardFacts):
        read = _READERS.get(field.name) or _BY_TYPE[str(field.type)]
        try:
            values[field.name] = read(found[field.name])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{field.name}: {error}") from error
    return BoardFacts(**values)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return harmless(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("neither true nor false")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise ValueError("no number")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > 1000:
        raise ValueError("no list")
    return tuple(_text(one) for one in value)


def _state(value: Any) -> State:
    try:
        return state_of(value)
    except ValueError:
        return State()


def _release(value: Any) -> Release | None:
    try:
        return None if value is None else release_of(value, "release.json")
    except Exception:  # of another version, or damaged: the board is then deployed to anew
        return None


def _health(value: Any) -> dict[str, Any]:
    return harmless_values(value) if isinstance(value, dict) else {}


def _path(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or harmless(value) != value:
        raise ValueError("no path")
    return value


_READERS: dict[str, Any] = {
    "state": _state,
    "release": _release,
    "health": _health,
    "failures": _health,
    "folder": _path,
    "unit": str,
    "trusted": str,
}
_BY_TYPE: dict[str, Any] = {
    "str": _text,
    "bool": _truth,
    "int": lambda value: int(_number(value)),
    "tuple[str, ...]": _texts,
    "str | None": lambda value: None if value is None else _text(value),
    "float | None": lambda value: None if value is None else float(_number(value)),
    "int | None": lambda value: None if value is None else int(_number(value)),
}
