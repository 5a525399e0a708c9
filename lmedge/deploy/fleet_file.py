"""fleet.toml: boards by name, with defaults for all of them.

    [defaults]
    source = "0"
    budget-ms = 60

    [board.kiosk-1]
    host = "pi@kiosk-1.local"
    source = "picamera2"

Every error names the line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DeployError
from ..harmless import harmless
from ..text_files import read_user_text
from .plan import BoardPlan, check_value, plan_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")
_HEAD = re.compile(r"\s*\[\s*([^\[\]#]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([\"']?)([\w-]+)\1\s*=")


def read_fleet(path: Path, only: Sequence[str] = ()) -> tuple[BoardPlan, ...]:
    """Return the plans of a fleet, in the order of the file; with `only`, of these boards.

    Raises DeployError, with the line, if the file cannot be read or holds a mistake.
    """
    try:
        text = read_user_text(path)
        found = tomllib.loads(text)
    except OSError as error:
        raise DeployError(
            f"{path}: cannot be read ({error.strerror or error}); name a file with a section "
            "[board.NAME] and host = ... for each board"
        ) from error
    except ValueError as error:
        raise DeployError(f"{path}: {harmless(error)}; correct it") from error
    lines = _Lines(path, text)
    for key in found.keys() - {"defaults", "board"}:
        lines.fail((), key, "is not known; write [defaults] and [board.NAME]")
    defaults = _section(lines, ("defaults",), found.get("defaults", {}))
    boards = found.get("board", {})
    if not isinstance(boards, dict) or not boards:
        lines.fail((), "board", "holds no board; write [board.NAME] with host = ...")
    plans = tuple(_plan(lines, name, values, defaults) for name, values in boards.items())
    _check_apart(lines, plans)
    unknown = [name for name in only if name not in boards]
    if unknown:
        raise DeployError(f"{path}: has no board {unknown[0]!r}; it has {', '.join(boards)}")
    return tuple(plan for plan in plans if not only or plan.name in only)


def _plan(lines: _Lines, name: str, values: Any, defaults: Mapping[str, Any]) -> BoardPlan:
    where = ("board", name)
    if not _NAME.fullmatch(name):
        lines.fail(where, None, "is no name; write letters, digits, dashes and dots")
    own = {**defaults, **_section(lines, where, values)}
    if "host" not in own:
        lines.fail(where, None, 'has no host; write host = "USER@BOARD"')
    return plan_of(name, own)


def _section(lines: _Lines, where: tuple[str, ...], values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        lines.fail((), where[0], "must be a section")
    section = {}
    for key, value in values.items():
        try:
            section[key] = check_value(key, value)
        except ValueError as error:
            lines.fail(where, key, str(error))
    return section


def _check_apart(lines: _Lines, plans: Sequence[BoardPlan]) -> None:
    """Refuse two boards that would write into one folder or run one service of a machine."""
    taken: dict[tuple[object, ...], str] = {}
    for plan in plans:
        place = (plan.host, plan.ssh_options)
        for what in ((*place, "folder", plan.folder), (*place, "service", plan.service.name)):
            other = taken.setdefault(what, plan.name)
            if other != plan.name:
                lines.fail(
                    ("board", plan.name),
                    None,
                    f"has host and {what[-2]} of {other}; give each a folder and a service",
                )


class _Lines:
    """The lines of a file, to name that of a mistake."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._numbers: dict[tuple[tuple[str, ...], str | None], int] = {}
        where: tuple[str, ...] = ()
        for number, line in enumerate(text.splitlines(), 1):
            if head := _HEAD.match(line):
                where = tuple(part.strip(" \"'") for part in re.split(r"\.", head[1], maxsplit=1))
                self._numbers.setdefault((where, None), number)
                self._numbers.setdefault(((), where[0]), number)
            elif key := _KEY.match(line):
                self._numbers.setdefault((where, key[2]), number)

    def fail(self, where: tuple[str, ...], key: str | None, problem: str) -> Any:
        """Raise DeployError on a key, or on a section if `key` is None."""
        number = self._numbers.get((where, key)) or self._numbers.get((where, None))
        place = f"{self._path}, line {number}" if number else str(self._path)
        name = key if key is not None else f"[{'.'.join(where)}]"
        raise DeployError(f"{place}: {name} {problem}")
