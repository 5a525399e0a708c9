"""The wanted state of one board: where it is, what its camera does, and what its limits are.

A plan comes from the words of a command line or from a table of fleet.toml. The keys of both are
those of KEYS, and the options of `lmedge camera` by their names.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from ..camera.command import camera
from ..errors import DeployError
from ..remote.link import check_host, check_option
from .release import Release
from .service import NAME, ServiceOptions
from .state import GRACE

# Options of the camera that a service has no use for, or that deploy sets itself.
_NOT_HERE = {"list", "json", "headless", "frames", "token", "status", "help"}
_CAPTURE = ("source", "size", "fps", "format", "rotate", "mirror", "roi", "give-up")
# Options that need an extra of lmedge on the board.
_EXTRAS = {"record": "camera", "preview": "camera", "mqtt": "mqtt", "metrics": "metrics"}
WATCH = 30.0


def _positive(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ValueError("must be a number above 0")
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 10**6:
        raise ValueError("must be a whole number above 0")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("must be text")
    return value


def _folder(value: Any) -> str:
    if not _text(value).startswith(("/", "~/")):
        raise ValueError("must begin with / or ~/")
    return str(value)


def _options(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("must be a list of KEY=VALUE")
    return tuple(check_option(_text(one)) for one in value)


# Keys besides the options of the camera: what makes a value of each, or raises ValueError.
KEYS: dict[str, Callable[[Any], Any]] = {
    "host": lambda value: check_host(_text(value)),
    "ssh-options": _options,
    "python": _text,
    "folder": _folder,
    "service": lambda value: ServiceOptions(name=_text(value)).name,
    "budget-ms": _positive,
    "least-rate": _positive,
    "watch": _positive,
    "grace": _positive,
    "stall": _positive,
    "memory-mb": _whole,
    "cpu-percent": _whole,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoardPlan:
    """The wanted state of one board.

    Attributes:
        name: Its name in tables.
        host: HOST or USER@HOST.
        ssh_options: KEY=VALUE of ssh_config.
        python: The Python there; None looks for one.
        folder: Folder of the releases there; empty means the default of the user.
        service: Name and limits of the service.
        source: The source of frames.
        capture: Words of `lmedge camera` about the source.
        arguments: Its other words.
        extras: Extras of lmedge that these words need.
        budget_ms: Milliseconds of a classification at the 90th percentile.
        least_rate: Frames a second below which a release is not well.
        watch: Seconds of frames in which a release proves itself.
        grace: Seconds that it has besides.
    """

    name: str
    host: str
    ssh_options: tuple[str, ...] = ()
    python: str | None = None
    folder: str = ""
    service: ServiceOptions = dataclasses.field(default_factory=ServiceOptions)
    source: str = "0"
    capture: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    budget_ms: float | None = None
    least_rate: float = 0.5
    watch: float = WATCH
    grace: float = GRACE

    def release(self, file: Path, sha256: str, environment: str, lmedge: str) -> Release:
        """Return the release of a file with these settings."""
        return Release(
            file=file.name,
            sha256=sha256,
            environment=environment,
            lmedge=lmedge,
            source=self.source,
            capture=self.capture,
            arguments=self.arguments,
            budget_ms=self.budget_ms,
            least_rate=self.least_rate,
            watch=self.watch,
            grace=self.grace,
            stall=self.service.stall,
            memory_mb=self.service.memory_mb,
        )


def camera_options() -> dict[str, click.Option]:
    """Return the options of `lmedge camera` that a plan may name, by their names without dashes."""
    found = {}
    for option in camera.params:
        if isinstance(option, click.Option) and not option.hidden:
            name = option.opts[0].lstrip("-")
            if name not in _NOT_HERE:
                found[name] = option
    return found


def check_value(key: str, value: Any) -> Any:
    """Return a value of a key, ready for `plan_of`. Raises ValueError with the reason."""
    if key in KEYS:
        try:
            return KEYS[key](value)
        except DeployError as error:
            raise ValueError(str(error)) from error
    option = camera_options().get(key)
    if option is None:
        close = difflib.get_close_matches(key, [*KEYS, *camera_options()], 2)
        hint = f"; perhaps {' or '.join(close)}" if close else ""
        raise ValueError(f"is not known{hint}")
    if option.is_flag:
        if not isinstance(value, bool):
            raise ValueError("must be true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be text or a number")
    text = f"{value:g}" if isinstance(value, float) else str(value)
    try:
        option.type.convert(_text(text), option, None)
    except click.BadParameter as error:
        raise ValueError(error.message) from error
    return text


def plan_of(name: str, values: Mapping[str, Any]) -> BoardPlan:
    """Return a plan of values that `check_value` returned; `host` must be among them."""
    given = dict(values)
    limits = {
        field: given.pop(key)
        for key, field in (
            ("service", "name"),
            ("stall", "stall"),
            ("memory-mb", "memory_mb"),
            ("cpu-percent", "cpu_percent"),
        )
        if key in given
    }
    own = {key.replace("-", "_"): given.pop(key) for key in list(given) if key in KEYS}
    chosen = {key: value for key, value in given.items() if value is not False}
    if "teach" in chosen and "preview" not in chosen:
        raise DeployError(f"{name}: teach needs preview, the page with its button")
    return BoardPlan(
        name=name,
        service=ServiceOptions(**{"name": NAME, **limits}),
        source=str(chosen.get("source", "0")),
        capture=_words({key: value for key, value in chosen.items() if key in _CAPTURE}),
        arguments=_words({key: value for key, value in chosen.items() if key not in _CAPTURE}),
        extras=tuple(sorted({"deploy", *(_EXTRAS[key] for key in chosen if key in _EXTRAS)})),
        **own,
    )


def _words(chosen: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the words of a command line, in the order of the names."""
    words: list[str] = []
    for key in sorted(chosen):
        words += [f"--{key}"] if chosen[key] is True else [f"--{key}", str(chosen[key])]
    return tuple(words)
