"""Options that several commands share, and options that have changed their name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ..evaluation import PARTS
from ..machine import cores

Command = TypeVar("Command", bound=Callable[..., Any] | click.Command)
PATH = click.Path(path_type=Path)
MAX_SEED = 2**31 - 1
MAX_THREADS = 128  # of the runtime, which starts as many as it is asked for

_log = logging.getLogger(__name__)


class RenamedOption(click.Option):
    """An option that also takes its former names, which neither help nor errors mention.

    Use it as `click.option("--new", cls=RenamedOption, formerly=["--old"], ...)`.
    """

    def __init__(self, *declarations: Any, formerly: Sequence[str], **settings: Any) -> None:
        """Take the former names, with their dashes, and everything that click.Option takes."""
        super().__init__(*declarations, **settings)
        self.formerly = tuple(formerly)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser know the former names as well."""
        shown = self.opts
        self.opts = [*shown, *self.formerly]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown


THREADS = click.IntRange(1, MAX_THREADS)


def warn_of_threads(threads: int | None) -> None:
    """Log a warning if more threads are asked for than the machine has cores."""
    if threads is not None and threads > cores():
        _log.warning(
            "%d threads on %d cores: more threads than cores slow it down", threads, cores()
        )


def _asked_threads(_: click.Context, __: click.Parameter, threads: int | None) -> int | None:
    warn_of_threads(threads)
    return threads


threads_option = click.option(
    "--threads",
    type=THREADS,
    callback=_asked_threads,
    help="Threads of the runtime  [default: the fastest count, measured once for each file]",
)
delegate_option = click.option(
    "--delegate",
    type=PATH,
    metavar="PATH",
    help="A TFLite delegate, a shared library, to run on an accelerator.",
)


def data_option(help: str) -> Callable[[Command], Command]:
    """Make `--data DIR`: labelled photographs to measure on."""
    return click.option("--data", type=PATH, metavar="DIR", help=help)


def part_option(help: str) -> Callable[[Command], Command]:
    """Make `--part`: a part of labelled photographs."""
    return click.option("--part", type=click.Choice(PARTS), help=help)


def unknown_option(help: str) -> Callable[[Command], Command]:
    """Make `--unknown DIR`: images that show none of the landmarks."""
    return click.option(
        "--unknown",
        cls=RenamedOption,
        formerly=["--strangers"],
        type=PATH,
        metavar="DIR",
        help=help,
    )


def out_option(help: str) -> Callable[[Command], Command]:
    """Make `--out DIR`: the folder of what a command writes."""
    return click.option("--out", type=PATH, metavar="DIR", help=help)


def set_option(name: str, help: str) -> Callable[[Command], Command]:
    """Make `--set KEY=VALUE` into the argument `name`: changes of a recipe."""
    return click.option("--set", name, multiple=True, metavar="KEY=VALUE", help=help)


def seed_option(help: str) -> Callable[[Command], Command]:
    """Make `--seed`, 0 unless given."""
    limits = click.IntRange(0, MAX_SEED)
    return click.option("--seed", type=limits, default=0, show_default=True, help=help)


def allow_leak_option(help: str) -> Callable[[Command], Command]:
    """Make `--allow-leak`: go on although an image is in two parts."""
    return click.option("--allow-leak", is_flag=True, help=help)


exclude_option = click.option(
    "--exclude",
    type=PATH,
    help="List of images to leave out  [default: DATA/exclude.txt if it is there]",
)
