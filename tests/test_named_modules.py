"""Pages, docstrings and the heads of results name modules and commands that are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmedge.cli import cli
from tests.locations import ROOT

ROOMS = {"train", "export", "benchmarks"}
ELSEWHERE = {"pip", "venv", "build", "pytest", "http", "mkdocs"}
PLACEHOLDERS = {"benchmarks.studies.NAME", "MODULE", "x"}
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.csv"))
# how an older table was made; its command in the head makes it anew
HEADS = ["command", "machine", "data"]


def texts() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every page, result and module."""
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "Makefile", *RESULTS]:
        yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
    for room in ("lmedge", "tests", "examples", *ROOMS):
        for path in (ROOT / room).rglob("*.py"):
            yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


def is_module(name: str) -> bool:
    """Return whether `python -m NAME` finds a file in the clone."""
    parts = name.split(".")
    if parts[0] == "lmedge" and len(parts) > 1 and parts[1] in ROOMS:
        parts = parts[1:]
    place = ROOT.joinpath(*parts)
    return place.with_suffix(".py").is_file() or (place / "__main__.py").is_file()


def test_every_module_that_is_named_is_there() -> None:
    named = {
        (where, name)
        for where, text in texts()
        for name in re.findall(r"python3? -m ([A-Za-z_]\w*(?:\.\w+)*)(?!\w|\.\w|\.{)", text)
    }
    assert len(named) > 50
    lost = {
        (where, name)
        for where, name in named
        if name.split(".")[0] not in ELSEWHERE and name not in PLACEHOLDERS and not is_module(name)
    }
    lost = {(where, name) for where, name in lost if where != "tests/test_named_modules.py"}
    assert not lost


@pytest.mark.parametrize("name", ["benchmarks.studies.cross_validation", "lmedge.benchmarks.peers"])
def test_a_module_that_is_gone_is_told(name: str) -> None:
    assert not is_module(name)
    assert is_module("benchmarks.studies.peers")
    assert is_module("lmedge.train.compare.child")


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_result_has_a_command_a_machine_and_its_data(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    heads = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
    assert [name for name in heads if name != "made by"] in (HEADS, HEADS[:2])
    words = heads["command"].split()
    if words[0] == "lmedge":
        known = cli.get_command(None, words[1])  # type: ignore[arg-type]
        assert known is not None
        options = {
            name for one in known.params for name in (*one.opts, *getattr(one, "formerly", ()))
        }
        assert {word for word in words if word.startswith("--")} <= options
    else:
        assert words[:2] == ["python", "-m"]
    columns = lines[len(heads)].split(",")
    assert len(lines) > len(heads) + 1
    assert len(set(columns)) == len(columns)
