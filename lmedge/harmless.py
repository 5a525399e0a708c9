"""Text from outside, made harmless in each kind of output.

Labels and metadata of a file, names of files and folders, and the words of a remote host may hold
anything: escape sequences of terminals, characters that turn the direction of a line, line breaks,
markup, formulas. What leaves lmedge goes through one of these functions.
"""

from __future__ import annotations

import copy
import json
import logging
import numbers
import os
import re
import shlex
from collections.abc import Iterable
from typing import Any, Protocol

import click

REPLACEMENT = "\ufffd"
# Control characters (C0, C1), line and paragraph separators, halves of surrogate pairs, and the
# invisible format characters of Unicode: bidirectional marks, overrides and isolates, tags. The two
# joiners stay, which Persian, Indian scripts and emoji need, and so do variation selectors.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\ud800-\udfff]"
)
_UNSAFE_IN_LINES = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
# What a spreadsheet takes for the begin of a formula, also behind blanks, and our quote before it.
_FORMULA = re.compile(r"'*\s*[=+\-@\t\r\n＝＋－＠]")
_MARKDOWN = re.compile(r"([\\`*\[\]|~$])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def harmless(text: object) -> str:
    """Return `text` as one line of visible characters; each other one becomes REPLACEMENT.

    The length stays, so that columns do. Paths whose names are no UTF-8 are taken as well.
    """
    return _UNSAFE.sub(REPLACEMENT, str(text))


def harmless_lines(text: object) -> str:
    """Return `text` as `harmless` does, but with its line breaks and tabs."""
    return _UNSAFE_IN_LINES.sub(REPLACEMENT, str(text))


def harmless_values(value: Any) -> Any:
    """Return a copy of a JSON value whose strings and keys are harmless."""
    if isinstance(value, dict):
        return {harmless(key): harmless_values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [harmless_values(inner) for inner in value]
    return harmless(value) if isinstance(value, str) else value


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print plain lines to the terminal, or to standard error."""
    click.echo(harmless_lines(text), err=err, nl=nl)


def print_error(error: object) -> None:
    """Print an error of lmedge as one line on standard error."""
    echo(f"lmedge: {harmless(' '.join(str(error).split()))}", err=True)


def shell_words(*words: object) -> str:
    """Return a line that people may copy into a shell; names with blanks are quoted."""
    return harmless(shlex.join(map(str, words)))


def json_text(value: Any, **options: Any) -> str:
    """Return JSON as json.dumps does, in letters of any script and with unsafe characters escaped.

    Nothing is lost: a reader of JSON finds the same strings.
    """
    return _UNSAFE_IN_LINES.sub(_escaped, json.dumps(value, ensure_ascii=False, **options))


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def csv_cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: text such as =1+1 gets a quote.

    Numbers stay as they are. `csv_text` gives the text back.
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def csv_text(cell: str) -> str:
    """Return the text of a cell that `csv_cell` made."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


class RowWriter(Protocol):
    """A writer of the module csv."""

    def writerow(self, row: Iterable[Any], /) -> object:
        """Write a row."""


def write_rows(writer: RowWriter, rows: Iterable[Iterable[object]]) -> None:
    """Write rows for people and spreadsheets: no formulas, no control characters."""
    for row in rows:
        writer.writerow(
            [csv_cell(harmless(cell) if isinstance(cell, str) else cell) for cell in row]
        )


def markdown(text: object) -> str:
    """Return `text` as one line that Markdown shows as it is: no HTML, links, code or table cells.

    Raw HTML is written with entities, so that no reader of the file finds a tag.
    """
    quoted = _MARKDOWN.sub(r"\\\1", harmless(text))
    return "".join(_ENTITIES.get(character, character) for character in quoted)


class HarmlessFormatter(logging.Formatter):
    """A formatter whose records are lines of ours with text from outside as arguments."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record with harmless arguments, on the lines of its own message."""
        args = record.args
        if isinstance(args, tuple):
            record = copy.copy(record)
            record.args = tuple(
                arg if isinstance(arg, numbers.Number) else harmless(arg) for arg in args
            )
        return harmless_lines(super().format(record))
