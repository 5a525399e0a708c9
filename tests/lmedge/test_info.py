"""lmedge.json of a stranger's file: plain values, or one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lmedge.errors import ModelFileError
from lmedge.info import MOST_BYTES, MOST_DEPTH, MOST_VALUES, read_info
from tests.hostile.files import joined, parts
from tests.in_process import lmedge

TEXTS = {
    "400 digits": b'{"schema": ' + b"9" * 400 + b"}",
    "5000 digits": b'{"schema": ' + b"9" * 5000 + b"}",
    "beyond 2^53": b'{"schema": 9007199254740993}',
    "a large exponent": b'{"schema": 1, "x": 1e999}',
    "a long fraction": b'{"x": 0.' + b"1" * 5000 + b"}",
    "NaN": b'{"x": NaN}',
    "infinity": b'{"x": [-Infinity]}',
    "half a letter": b'{"x": "\\ud800"}',
    "half a letter in a name": b'{"x": {"a\\udfff": 1}}',
    "half a letter in bytes": b'{"x": "\xed\xa0\x80"}',
    "17 levels": b'{"x": ' + b"[" * MOST_DEPTH + b"]" * MOST_DEPTH + b"}",
    "90,000 levels": b"[" * 90_000 + b"]" * 90_000,
    "many empty lists": b'{"x": [' + b"[]," * MOST_VALUES + b"[]]}",
    "many objects": b'{"x": [' + b"{}," * MOST_VALUES + b"{}]}",
    "many deep lists": b'{"x": [' + (b"[" * 10 + b"]" * 10 + b",") * (MOST_VALUES // 10) + b"1]}",
    "many numbers": b'{"x": [' + b"1," * MOST_VALUES + b"1]}",
    "a list": b"[1]",
    "a number": b"1",
    "nothing": b"",
    "null": b"null",
    "not UTF-8": b'{"x": "\xff"}',
    "UTF-16": json.dumps({"x": 1}).encode("utf-16"),
    "half": b'{"x": ',
    "too long": b'{"x": "' + b"a" * MOST_BYTES + b'"}',
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_json_allows_beyond_plain_values_is_one_line(name: str) -> None:
    with pytest.raises(ModelFileError, match=r"^[^\n]+$"):
        read_info(TEXTS[name])


def test_few_bytes_do_not_become_many_values() -> None:
    """4 MiB of short lists took 550 MB and 10 s in `inspect --json`."""
    with pytest.raises(ModelFileError, match="more than 262144 values"):
        read_info(TEXTS["many empty lists"])
    numbers = [[0.123456] * 10_000] * 20
    assert read_info(json.dumps({"x": numbers}).encode()) == {"x": numbers}


def test_plain_values_are_read() -> None:
    found = {"x": [1, 2.5, True, None, "gr\u00fcn \U0001f5fc"], "y": {"z": {}}, "schema": 2**53}
    assert read_info(json.dumps(found).encode()) == found
    assert read_info(json.dumps(found, ensure_ascii=False).encode()) == found


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "1"},
        {"schema": True},
        {"schema": -1},
        {"hierarchy": ["a"]},
        {"hierarchy": {"blue": 1}},
        {"hierarchy": None},
        {"lmedge": ["9"], "schema": 9},
        {"preprocessing": "crop"},
        {"preprocessing": {"resize": ["crop"]}},
        {"golden": {"landmark": [["0.5"] * 4] * 3, "category": [[0.5] * 2] * 3}},
        {"golden": {"landmark": [[True] * 4] * 3, "category": [[0.5] * 2] * 3}},
        {"golden": [1]},
        {"gate": {"problems": 5}},
        {"metrics": {"val": {"file": {"landmark": {"macro_f1": 1e308, "n": {}}}}}},
        {"metrics": {"val": 3}},
        {"provenance": {"pictures": 3, "refit_of": {"test": []}}},
    ],
    ids=lambda change: json.dumps(change)[:60],
)
def test_wrong_types_never_end_in_a_traceback(
    tiny_file: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    body, entries = parts(tiny_file.read_bytes())
    info = {**json.loads(entries["lmedge.json"]), **change}
    path = tmp_path / "wrong.tflite"
    path.write_bytes(joined(body, {**entries, "lmedge.json": json.dumps(info).encode()}))
    for words in (["inspect", path], ["inspect", path, "--json"], ["inspect", path, "--verify"]):
        done = lmedge(*words)
        assert "Traceback" not in done.stderr
        assert (done.returncode, len(done.stderr.splitlines())) in {(0, 0), (4, 1)}
