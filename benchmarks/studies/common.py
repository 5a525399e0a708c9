"""Parts that several studies share: the way to run them, and common options."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from lmedge.errors import LmedgeError
from lmedge.files import check_writable

RESULTS = Path("benchmarks/results")
PATH = click.Path(path_type=Path)
Decorator = Callable[[Any], Any]


def run_study(command: click.Command) -> NoReturn:
    """Run a study and leave the process; every error on purpose is one line on standard error."""
    try:
        command()
    except LmedgeError as error:
        click.echo(" ".join(str(error).split()), err=True)
        sys.exit(error.exit_code)
    sys.exit(0)


def out_option(name: str | None = None) -> Decorator:
    """Return `--out`, the CSV file: required, or by default `name` among the committed results.

    A file that cannot be written is an error before anything is measured.
    """
    settings: dict[str, Any] = {"type": PATH, "callback": _writable, "help": "The CSV file."}
    if name is None:
        return click.option("--out", required=True, **settings)
    return click.option("--out", default=RESULTS / name, show_default=True, **settings)


def _writable(_: click.Context, __: click.Parameter, out: Path) -> Path:
    check_writable(out)
    return out


def images_option(count: int) -> Decorator:
    """Return `--images`, the largest number of images; the former name is `--pictures`."""
    from lmedge.commands.options import RenamedOption  # brings OpenCV: cold_start must stay small

    return click.option(
        "--images",
        cls=RenamedOption,
        formerly=["--pictures"],
        type=click.IntRange(1),
        default=count,
        show_default=True,
        help="Images to measure on, at most.",
    )


def unknown_option(**settings: Any) -> Decorator:
    """Return `--unknown`, images of no known landmark; the former name is `--strangers`."""
    from lmedge.commands.options import RenamedOption

    return click.option("--unknown", cls=RenamedOption, formerly=["--strangers"], **settings)
