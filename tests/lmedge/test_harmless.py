"""Text from outside cannot steer a terminal, forge a line, hide itself or become a formula."""

from __future__ import annotations

import ast
import csv
import io
import itertools
import json
import logging
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lmedge import cli
from lmedge.harmless import (
    REPLACEMENT,
    HarmlessFormatter,
    csv_cell,
    csv_text,
    harmless,
    harmless_lines,
    harmless_values,
    json_text,
    markdown,
    write_rows,
)
from tests.locations import ROOT

# Visible signs of Arabic, Syriac and Kaithi, joiners, and the layout of hieroglyphs.
KEPT = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x200C, 0x200D}
KEPT |= {0x110BD, 0x110CD, *range(0x13430, 0x13440)}
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "'=1", "''=1", "＝1", "－1")


class TestCharacters:
    def test_every_control_and_format_character_of_unicode_is_replaced(self) -> None:
        for code in range(sys.maxunicode + 1):
            unsafe = unicodedata.category(chr(code)) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
            if unsafe and code not in KEPT:
                assert harmless(chr(code)) == REPLACEMENT, hex(code)

    def test_names_of_any_script_stay(self) -> None:
        for name in (
            "Große Brücke",
            "می‌خواهم",
            "クジラ",
            "👩‍👩‍👧",
            "葛\U000e0100",
            "Ελλάς",
            "a b",
            "ﷺ",
        ):
            assert harmless(name) == name

    def test_a_line_stays_a_line(self) -> None:
        assert harmless("a\nb\tc\x1b[2K\u2028d\x85") == "a�b�c�[2K�d�"
        assert harmless_lines("a\nb\tc\r\x1bd\u202e") == "a\nb\tc��d�"

    def test_paths_that_are_not_utf_8(self) -> None:
        assert harmless(Path("a\udcff.jpg")) == "a�.jpg"

    def test_values(self) -> None:
        found = harmless_values({"a\x1b": ["\u202eb", 1, None, {"c": "\n"}], "n": 0.5})
        assert found == {"a�": ["�b", 1, None, {"c": "�"}], "n": 0.5}


class TestFormats:
    def test_json_loses_nothing(self) -> None:
        value = {"é\u202e": "\x1b]0;x\x07\x9b2J\x7f\u2028\ud800\U000e0041\n\t", "n": [1.5]}
        text = json_text(value, indent=2)
        assert json.loads(text) == value
        assert harmless_lines(text) == text
        assert "é" in text
        text.encode()

    @pytest.mark.parametrize("text", FORMULAS)
    def test_formulas_are_quoted_in_csv(self, text: str) -> None:
        cell = csv_cell(text)
        assert str(cell).startswith("'")
        assert csv_text(str(cell)) == text

    @pytest.mark.parametrize("text", ["", "a", "'s-Hertogenbosch", "a=b", "5-1", "'"])
    def test_other_text_stays_in_csv(self, text: str) -> None:
        assert csv_cell(text) == text == csv_text(text)

    def test_numbers_stay_numbers_in_csv(self) -> None:
        assert csv_cell(-0.5) == -0.5
        assert csv_cell(np.float32(-1)) == np.float32(-1)

    def test_rows(self) -> None:
        stream = io.StringIO()
        write_rows(csv.writer(stream), [("=1", -1.5, "a\x1b\nb", None), (Path("-x.jpg"),)])
        assert stream.getvalue() == "'=1,-1.5,a��b,\r\n'-x.jpg\r\n"

    def test_markdown(self) -> None:
        text = "<script>|[a](javascript:1)\n`b` *c* ~d~ $e$ & \\"
        shown = markdown(text)
        assert not set("<>\n") & set(shown)
        for character in "|[]`*~$":
            assert shown.count(character) == shown.count("\\" + character)
        assert markdown("a_file-1.2.tflite") == "a_file-1.2.tflite"


class TestBoundary:
    def test_nothing_else_prints(self) -> None:
        """Plain lines go through `echo`, tables through HarmlessConsole."""
        styled = {"lmedge/commands/doctor.py", "lmedge/commands/predict.py"}
        styled |= {"train/demo/command.py", "lmedge/harmless.py"}  # clean before they are styled
        styled |= {"lmedge/deploy/look.py"}  # JSON in ASCII, on the board
        consoles = {"lmedge/progress.py", "lmedge/report/terminal.py"}
        allowed = {
            **dict.fromkeys(("click.echo", "click.secho", "print"), styled),
            "Console": consoles,
        }
        found = []
        for room in ("lmedge", "train", "export", "benchmarks"):
            for path in sorted((ROOT / room).rglob("*.py")):
                name = path.relative_to(ROOT).as_posix()
                found += [
                    f"{name}:{node.lineno}"
                    for node in ast.walk(ast.parse(path.read_text("utf-8")))
                    if isinstance(node, ast.Call) and "studies" not in path.parts
                    if name not in allowed.get(ast.unparse(node.func), {name})
                ]
        assert not found

    def test_every_table_of_names_is_guarded(self) -> None:
        """A module that writes CSV guards its cells, unless they are numbers and fixed words."""
        plain = {"train/history.py", "train/data/fold_plan.py"}
        found = {name for name, text in product() if "csv.writer(" in text or "DictWriter(" in text}
        guarded = {name for name, text in product() if "write_rows(" in text or "csv_cell" in text}
        assert found - guarded == plain

    def test_commands_to_copy_are_quoted(self) -> None:
        """No name of a file stands in a command of an f-string as it is."""
        verbs = "|".join(cli.COMMANDS)
        opened = re.compile(rf"lmedge ({verbs}) [^;`]*$")
        found = [
            f"{name}:{node.lineno}: {before.value}"
            for name, text in product()
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.JoinedStr)
            for before, value in itertools.pairwise(node.values)
            if isinstance(value, ast.FormattedValue) and isinstance(before, ast.Constant)
            if opened.search(str(before.value))
        ]
        assert not found


def product() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each module of the product."""
    for room in ("lmedge", "train", "export", "benchmarks"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if "studies" not in path.parts:
                yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


class TestLog:
    def _line(self, message: str, *args: object) -> str:
        record = logging.LogRecord("lmedge", logging.INFO, "", 0, message, args, None)
        return HarmlessFormatter("%(message)s").format(record)

    def test_arguments_cannot_forge_a_line(self) -> None:
        path = Path("a\nlmedge: deleted everything\x1b[2K")
        assert self._line("wrote %s", path) == "wrote a�lmedge: deleted everything�[2K"
        assert self._line("two\nlines %s", ValueError("\x9b")) == "two\nlines �"

    def test_numbers_are_formatted(self) -> None:
        assert self._line("%d of %.2f, %5.1f", np.int64(3), np.float32(2), 1) == "3 of 2.00,   1.0"
