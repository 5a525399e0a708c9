"""Options of `lmedge camera` that tell others of the labels, and the sinks that they open."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import click

from .on_change import ChangeCommand, Words
from .sinks import Sink

_OPTIONS = (
    click.option(
        "--on-change",
        type=Words(),
        help="Start a program when the label changes, with the label in its environment.",
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

    def open(self) -> list[Sink]:
        """Open the sinks that are asked for."""
        return [] if self.on_change is None else [ChangeCommand(self.on_change)]
