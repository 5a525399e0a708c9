"""Options of `lmedge camera` that tell others of the labels, and the sinks that they open."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .choice import Choice
from .frames import FrameSource
from .metrics import Metrics
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

    def open(self, source: FrameSource, choice: Choice, token_file: Path | None) -> list[Sink]:
        """Open the sinks that are asked for."""
        sinks: list[Sink] = []
        if self.on_change is not None:
            sinks.append(ChangeCommand(self.on_change))
        if self.metrics is not None:
            figures = Metrics(*self.metrics, choice, source, token_file)
            _log.info("figures at %s", figures.shown())
            sinks.append(figures)
        return sinks
