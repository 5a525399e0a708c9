"""An option that was renamed takes its former name, and says only the new one."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from lmedge.commands.options import RenamedOption


@click.command()
@click.option("--new", cls=RenamedOption, formerly=["--old", "--older"], type=int, help="A number.")
@click.option("--flag", cls=RenamedOption, formerly=["--banner"], is_flag=True)
def command(new: int | None, flag: bool) -> None:
    """Print what was given."""
    click.echo(f"{new} {flag}")


@pytest.mark.parametrize("name", ["--new", "--old", "--older"])
def test_every_name_gives_the_value(name: str) -> None:
    assert CliRunner().invoke(command, [name, "3"]).output == "3 False\n"
    assert CliRunner().invoke(command, [f"{name}=3"]).output == "3 False\n"


@pytest.mark.parametrize("name", ["--flag", "--banner"])
def test_flags_have_former_names_too(name: str) -> None:
    assert CliRunner().invoke(command, [name]).output == "None True\n"


def test_the_last_name_given_counts() -> None:
    assert CliRunner().invoke(command, ["--old", "3", "--new", "4"]).output == "4 False\n"
    assert CliRunner().invoke(command, ["--new", "4", "--old", "3"]).output == "3 False\n"


def test_help_and_errors_mention_the_new_name_alone() -> None:
    shown = CliRunner().invoke(command, ["--help"])
    assert "--new INTEGER  A number." in shown.output
    assert "--old" not in shown.output
    assert "--banner" not in shown.output
    wrong = CliRunner().invoke(command, ["--old", "three"])
    assert wrong.exit_code == 2
    assert "'--new'" in wrong.output
