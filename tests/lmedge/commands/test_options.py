"""Options that several commands share: former names, and limits."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from lmedge.commands import options
from lmedge.commands.options import RenamedOption, threads_option


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


def test_threads_have_a_limit_and_more_than_the_cores_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @click.command()
    @threads_option
    def count(threads: int | None) -> None:
        click.echo(threads)

    monkeypatch.setattr(options, "cores", lambda: 2)
    for given in ("0", str(options.MAX_THREADS + 1), "1000000"):
        assert CliRunner().invoke(count, ["--threads", given]).exit_code == 2
    for given in ([], ["--threads", "2"]):
        assert CliRunner().invoke(count, given).exit_code == 0
        assert not caplog.messages
    assert CliRunner().invoke(count, ["--threads", "64"]).output == "64\n"
    assert "64 threads on 2 cores" in caplog.text
