"""Options that several commands of the device share."""

from __future__ import annotations

from pathlib import Path

import click

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
