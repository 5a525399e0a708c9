"""How the measuring scripts of every room are run."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from lmedge.errors import LmedgeError


def run(command: click.Command) -> NoReturn:
    """Run a script; every error on purpose is one line on standard error."""
    try:
        command()
    except LmedgeError as error:
        click.echo(" ".join(str(error).split()), err=True)
        sys.exit(error.exit_code)
    sys.exit(0)
