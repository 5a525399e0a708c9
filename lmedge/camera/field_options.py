"""Options of `lmedge camera` that tell others of the labels, and the sinks that they open."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..commands.options import PATH
from ..writers import held
from .choice import Choice
from .collect import MEGABYTES, ONE_IN, RATE, CollectOptions, Collector
from .discovery import PREFIX
from .frames import FrameSource
from .metrics import Metrics
from .mqtt import Mqtt
from .mqtt_address import PASSWORD_VARIABLE, MqttAddress, MqttUrl, find_password
from .on_change import ChangeCommand, Words
from .parameters import Address
from .sinks import Sink

_log = logging.getLogger(__name__)

_OPTIONS = (
    click.option(
        "--on-change",
        type=Words(),
        help="Start a program when the label changes, with the label in its environment.",
    ),
    click.option(
        "--metrics",
        type=Address(),
        help="Serve figures for Prometheus; any address but 127.0.0.1 has the token of --preview.",
    ),
    click.option(
        "--mqtt",
        type=MqttUrl(),
        help="Publish the label when it changes; mqtts:// encrypts, USER@HOST logs in.",
    ),
    click.option(
        "--mqtt-password-file",
        type=PATH,
        metavar="FILE",
        help=f"File with the password of the broker  [default: {PASSWORD_VARIABLE}]",
    ),
    click.option(
        "--mqtt-ca",
        type=PATH,
        metavar="FILE",
        help="Certificates, PEM, that sign the broker's  [default: the system's]",
    ),
    click.option(
        "--mqtt-discovery",
        is_flag=False,
        flag_value=PREFIX,
        metavar="TOPIC",
        help=f"Let Home Assistant find the camera; below {PREFIX} unless given.",
    ),
    click.option(
        "--collect",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Keep frames that are worth learning from, and some at random.",
    ),
    click.option(
        "--collect-one-in",
        type=click.IntRange(0),
        metavar="N",
        help=f"Of so many frames keep one at random; 0 for none  [default: {ONE_IN}]",
    ),
    click.option(
        "--collect-rate",
        type=click.FloatRange(0),
        metavar="N",
        help=f"Keep at most so many others an hour  [default: {RATE}]",
    ),
    click.option(
        "--collect-mb",
        type=click.FloatRange(0, min_open=True),
        metavar="N",
        help=f"Megabytes that DIR may have  [default: {MEGABYTES}]",
    ),
)


def field_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options, in their order, to a command that passes them to FieldOptions."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldOptions:
    """The values of the options."""

    on_change: tuple[str, ...] | None
    metrics: tuple[str, int] | None
    mqtt: MqttAddress | None
    mqtt_password_file: Path | None
    mqtt_ca: Path | None
    mqtt_discovery: str | None
    collect: Path | None
    collect_one_in: int | None
    collect_rate: float | None
    collect_mb: float | None

    def __post_init__(self) -> None:
        """Refuse options that belong to one that is missing."""
        for option in ("mqtt", "collect"):
            for name in (field.name for field in dataclasses.fields(self)):
                belongs = name.startswith(f"{option}_") and getattr(self, option) is None
                if belongs and getattr(self, name) is not None:
                    raise click.UsageError(f"--{name.replace('_', '-')} needs --{option}")

    def open(
        self,
        source: FrameSource,
        choice: Choice,
        token_file: Path | None,
        stack: contextlib.ExitStack,
    ) -> list[Sink]:
        """Open the sinks that are asked for; `stack` holds the folder of collected images."""
        sinks: list[Sink] = []
        if self.on_change is not None:
            sinks.append(ChangeCommand(self.on_change))
        if self.metrics is not None:
            figures = Metrics(*self.metrics, choice, source, token_file)
            _log.info("figures at %s", figures.shown())
            sinks.append(figures)
        if self.mqtt is not None:
            sinks.append(
                Mqtt(
                    self.mqtt,
                    choice,
                    password=find_password(self.mqtt_password_file),
                    ca=self.mqtt_ca,
                    discovery=self.mqtt_discovery,
                )
            )
        if self.collect is not None:
            stack.enter_context(held(self.collect / "collected"))
            sinks.append(Collector(self.collect, choice, source.name, options=self._bounds()))
        return sinks

    def _bounds(self) -> CollectOptions:
        return CollectOptions(
            one_in=ONE_IN if self.collect_one_in is None else self.collect_one_in,
            rate=RATE if self.collect_rate is None else self.collect_rate,
            megabytes=MEGABYTES if self.collect_mb is None else self.collect_mb,
        )
