"""Text and tables that users write, in the encodings and with the separators of their editors.

UTF-8 with or without a byte order mark, UTF-16 and UTF-32 as Notepad and Excel save them, otherwise
Windows-1252. Lines may end in LF, CR LF or CR. A table is separated by commas, semicolons or tabs,
as its first line shows.
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io
import logging
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from .regular import read_regular

_MARKS = (  # UTF-32's before UTF-16's, with which it begins
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LEGACY = "windows-1252"
_SEPARATORS = ",;\t"
_MAX_BYTES = 256 * 1024 * 1024
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TableLine:
    """The cells of one row, and the number of its first line in the file, from 1."""

    number: int
    cells: tuple[str, ...]


def read_user_text(path: Path) -> str:
    r"""Return the text of a file, its lines ended by \n.

    Raises:
        OSError: The file cannot be read, is larger than _MAX_BYTES, or is a device, a pipe or a
            folder.
        ValueError: It is no text.
    """
    data = read_regular(path, _MAX_BYTES)
    text = decode_text(data)
    if not _is_unicode(data):
        _log.warning("%s: not UTF-8, read as %s; save it as UTF-8", path, _LEGACY)
    return text


def _is_unicode(data: bytes) -> bool:
    if any(data.startswith(mark) for mark, _ in _MARKS):
        return True
    try:
        data.decode(_without_mark(data))
    except UnicodeDecodeError:
        return False
    return True


def decode_text(data: bytes) -> str:
    r"""Return the text of a file's bytes, its lines ended by \n; ValueError if it is none."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    try:
        text = data.decode(encoding or _without_mark(data))
    except UnicodeDecodeError:
        if encoding is not None:
            raise ValueError("not text: its byte order mark does not fit its bytes") from None
        text = data.decode(_LEGACY, "replace")
    if "\x00" in text:
        raise ValueError("not text: it holds zero bytes")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _without_mark(data: bytes) -> str:
    """Return UTF-16 if every other byte is zero, as for Latin letters, otherwise UTF-8."""
    start = data[:64]
    if len(start) >= 4 and len(data) % 2 == 0:
        if not any(start[1::2]):
            return "utf-16-le"
        if not any(start[::2]):
            return "utf-16-be"
    return "utf-8"


def table_lines(text: str, columns: Sequence[str], comment: str = "") -> Iterator[TableLine]:
    """Yield the rows of a table, the line with the columns' names included, blank ones left out.

    Args:
        text: The text of the file.
        columns: The names of which the first row holds at least one; they show the separator.
        comment: Lines that begin with it are left out.

    Raises:
        ValueError: A quoted cell does not end.
    """
    kept = [
        (number, line)
        for number, line in enumerate(io.StringIO(text, newline="\n"), 1)
        if not (comment and line.startswith(comment))
    ]
    if kept and kept[0][1].strip().lower() in {f"sep={one}".strip() for one in _SEPARATORS}:
        kept = kept[1:]  # Excel's own line
    separator = _separator((line for _, line in kept), columns)
    reader = csv.reader((line for _, line in kept), strict=True, delimiter=separator)
    read = 0
    try:
        for row in reader:
            first, read = read, reader.line_num
            if any(cell.strip() for cell in row):
                yield TableLine(kept[first][0], tuple(row))
    except csv.Error as error:
        raise ValueError(f"line {kept[read][0]}: {error}") from error


def _separator(lines: Iterator[str], columns: Sequence[str]) -> str:
    first = next((line for line in lines if line.strip()), "")
    names = set(columns)

    def named(separator: str) -> int:
        return len(names & {cell.strip().strip('"') for cell in first.split(separator)})

    return max(_SEPARATORS, key=named)  # the comma if none shows


def nfc(text: str) -> str:
    """Return text in Unicode's composed form, in which names are compared."""
    return unicodedata.normalize("NFC", text)
