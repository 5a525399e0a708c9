"""The content of lmedge.json, read from bytes that are not trusted.

JSON allows more than a file of ours holds: numbers of any length, NaN, text that is no Unicode,
lists in lists without end. `read_info` refuses those, so that the readers of single fields meet
plain values only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from .archive import CHECKSUM
from .errors import ModelFileError

MOST_BYTES = 4 * 1024 * 1024
MOST_DEPTH = 16
MOST_VALUES = 1 << 18  # a list of one byte of JSON takes 64 bytes or more of memory
LARGEST = 2**53  # of an integer, as in JavaScript


def read_info(text: bytes) -> dict[str, Any]:
    """Return the object in lmedge.json.

    Raises ModelFileError when it is no object of plain values, or a field that reading the file
    needs has another type.
    """
    if len(text) > MOST_BYTES:
        raise ModelFileError(f"lmedge.json is larger than {MOST_BYTES >> 20} MiB")
    if sum(map(text.count, (b",", b"[", b"{"))) > MOST_VALUES:  # as many as there are, or more
        raise ModelFileError(f"lmedge.json has more than {MOST_VALUES} values")
    try:
        found = json.loads(
            text.decode(), parse_int=_integer, parse_float=_number, parse_constant=_refuse
        )
    except RecursionError:
        raise ModelFileError(f"lmedge.json has more than {MOST_DEPTH} levels") from None
    except UnicodeDecodeError:
        raise ModelFileError("lmedge.json is not UTF-8") from None
    except ValueError as error:
        raise ModelFileError(f"lmedge.json is damaged ({error})") from None
    if not isinstance(found, dict):
        raise ModelFileError("lmedge.json holds no object")
    _check_plain(found)
    for name, fits in _FIELDS.items():
        if found.get(name) is not None and not fits(found[name]):
            raise ModelFileError(f"its {name} in lmedge.json cannot be used; export it again")
    return found


def _integer(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > LARGEST:
        raise ValueError("a number is too large")
    return int(digits)


def _number(text: str) -> float:
    value = float(text) if len(text) <= 64 else math.inf
    if not math.isfinite(value):
        raise ValueError("a number is too large or too long")
    return value


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _check_plain(found: Any) -> None:
    """Refuse text that cannot be written as UTF-8, and values nested too deep."""
    level = [found]
    for _ in range(MOST_DEPTH):
        for text in _texts(level):
            if not text.isascii():
                try:
                    text.encode()
                except UnicodeEncodeError:
                    raise ModelFileError("lmedge.json holds text that is no Unicode") from None
        level = [item for value in level for item in _inside(value)]
        if not level:
            return
    raise ModelFileError(f"lmedge.json has more than {MOST_DEPTH} levels")


def _texts(level: list[Any]) -> Iterator[str]:
    for value in level:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from value


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def is_number(value: Any) -> bool:
    """Return True for a number of JSON, which a bool is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_numbers(value: Any, rows: int, columns: int) -> bool:
    """Return True for a list of `rows` lists of `columns` numbers each."""
    return (
        isinstance(value, list)
        and len(value) == rows
        and all(isinstance(row, list) and len(row) == columns for row in value)
        and all(is_number(number) for row in value for number in row)
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_hierarchy(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


# What reading the file needs. Whoever shows or uses another field checks that one.
_FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "schema": _is_whole,
    "lmedge": _is_text,
    "model_bytes": _is_whole,
    "model_sha256": _is_text,
    CHECKSUM: _is_text,
    "hierarchy": _is_hierarchy,
}
