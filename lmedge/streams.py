"""Standard streams that are closed, full, not UTF-8, or read by a process that ends early.

The command line calls `prepare_streams` once, before anything is written.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import stat
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ESCAPE = "lmedge-escape"  # the error handler of both streams
STDOUT = "standard output"


class ReaderLeftError(BrokenPipeError):
    """The process that reads standard output has ended, as `head` does."""


def prepare_streams() -> None:
    """Replace sys.stdout and sys.stderr so that commands need not think of them.

    - A closed stream discards what is written. Its number stays taken, so that no file that is
      opened later receives what libraries write to it.
    - Letters that the encoding lacks are escaped as in JSON, so that JSON stays JSON.
    - A line on standard output is written whole or not at all. A full disk is an OSError that
      names standard output, and a reader that left is a ReaderLeftError.
    - Standard error never fails: a message that nobody can read does not end a command.

    Other streams than those of a process, such as the ones of a test, stay as they are.
    """
    if os.name != "posix":
        return
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, this one
    codecs.register_error(ESCAPE, _escape)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = _over(sys.stdout, _Results(1))
    sys.stderr = _over(sys.stderr, _Messages(2))


def _over(stream: TextIO | None, raw: Any) -> TextIO:
    """Return a text stream that keeps nothing back, in the encoding of the former one."""
    if stream is None:
        return io.TextIOWrapper(raw, "utf-8", ESCAPE, write_through=True)
    try:
        if stream.fileno() != raw.fileno():
            return stream
        stream.flush()
    except (OSError, ValueError):  # has no file
        return stream
    return io.TextIOWrapper(raw, stream.encoding, ESCAPE, write_through=True)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    pairs = (units[start : start + 4] for start in range(0, len(units), 4))
    return "".join(f"\\u{unit}" for unit in pairs), error.end


class _Results(io.RawIOBase):
    """Standard output: a line that cannot be written in full is taken back."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._begun = 0  # bytes of a line whose end was not written yet

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest:
                count = os.write(self._number, rest)
                end = bytes(rest[:count]).rfind(b"\n")
                self._begun = count - 1 - end if end >= 0 else self._begun + count
                rest = rest[count:]
        except BrokenPipeError as error:
            raise ReaderLeftError(error.errno, error.strerror, STDOUT) from error
        except OSError as error:
            self._take_back()
            raise OSError(error.errno, error.strerror, STDOUT) from error
        return size

    def _take_back(self) -> None:
        """Cut a line that was begun off a file, if nothing else was written behind it."""
        with contextlib.suppress(OSError):
            about = os.fstat(self._number)
            place = os.lseek(self._number, 0, os.SEEK_CUR)
            if stat.S_ISREG(about.st_mode) and place == about.st_size and self._begun <= place:
                os.ftruncate(self._number, place - self._begun)
                os.lseek(self._number, place - self._begun, os.SEEK_SET)
                self._begun = 0


class _Messages(_Results):
    """Standard error: what cannot be written is discarded."""

    def write(self, data: ReadableBuffer, /) -> int:
        with contextlib.suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes
