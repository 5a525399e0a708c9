"""Options that several commands share, and options that have changed their name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click


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


threads_option = click.option(
    "--threads",
    type=click.IntRange(1),
    help="Threads of the runtime  [default: the fastest count, measured once for each file]",
)
delegate_option = click.option(
    "--delegate",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A TFLite delegate, a shared library, to run on an accelerator.",
)
