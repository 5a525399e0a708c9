"""Streams of lines: standard output and error, and files that grow by whole lines.

The command line calls `prepare_streams` once, before anything is written.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import stat
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from .errors import LmedgeError

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
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = _over(sys.stdout, _Results(1))
    sys.stderr = _over(sys.stderr, _Messages(2))


def open_lines(path: str | os.PathLike[str]) -> TextIO:
    """Open a file, emptied, for lines of UTF-8 that are written whole or not at all.

    A line that cannot be written is an OSError with the path as its `filename`; later lines may
    be tried. Raises LmedgeError if the file cannot be opened.
    """
    name = os.fspath(path)
    try:
        number = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    except OSError as error:
        raise LmedgeError(write_problem(error, name)) from error
    raw: Any = _Lines(number, name, owned=True)
    return io.TextIOWrapper(raw, "utf-8", ESCAPE, write_through=True)


@contextlib.contextmanager
def libraries_write_to(sink: int) -> Iterator[None]:
    """Let libraries that write to file descriptor 2 write to `sink`; messages of Python stay.

    Without `prepare_streams`, what writes to the former sys.stderr object goes to `sink` as well.
    """
    try:
        saved = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    former = sys.stderr
    raw = getattr(former, "buffer", None)
    try:
        if isinstance(raw, _Messages):
            raw.divert(saved)
        elif _is_stderr(former):
            former.flush()
            sys.stderr = open(  # noqa: SIM115
                saved, "w", 1, former.encoding, former.errors, closefd=False
            )
        os.dup2(sink, 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
    finally:
        if isinstance(raw, _Messages):
            raw.divert(2)
        elif sys.stderr is not former:
            with contextlib.suppress(OSError):
                sys.stderr.close()
            sys.stderr = former
        os.close(saved)


def _is_stderr(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.fileno() == 2
    except (OSError, ValueError):  # has no file
        return False


def write_problem(error: OSError, name: str | None = None) -> str:
    """Return the line of an error of these streams; `name` is for errors without a file name."""
    place = "file" if error.filename == STDOUT else "folder"
    where = name or error.filename
    return f"cannot write {where}: {error.strerror or error}; free space or choose another {place}"


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


codecs.register_error(ESCAPE, _escape)


class _Lines(io.RawIOBase):
    """A file of lines without a buffer: a line that cannot be written in full is taken back."""

    def __init__(self, number: int, name: str, *, owned: bool) -> None:
        self._number, self._name, self._owned = number, name, owned
        self._begun = 0  # bytes of a line whose end was not written yet

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        if self._owned and not self.closed:
            os.close(self._number)
        super().close()

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
            raise self._reader_left(error) from error
        except OSError as error:
            self._take_back()
            raise OSError(error.errno, error.strerror, self._name) from error
        return size

    def _reader_left(self, error: OSError) -> OSError:
        return OSError(error.errno, error.strerror, self._name)

    def _take_back(self) -> None:
        """Cut a line that was begun off a file, if nothing else was written behind it."""
        with contextlib.suppress(OSError):
            about = os.fstat(self._number)
            place = os.lseek(self._number, 0, os.SEEK_CUR)
            if stat.S_ISREG(about.st_mode) and place == about.st_size and self._begun <= place:
                os.ftruncate(self._number, place - self._begun)
                os.lseek(self._number, place - self._begun, os.SEEK_SET)
                self._begun = 0


class _Results(_Lines):
    """Standard output."""

    def __init__(self, number: int) -> None:
        super().__init__(number, STDOUT, owned=False)

    def _reader_left(self, error: OSError) -> OSError:
        return ReaderLeftError(error.errno, error.strerror, STDOUT)


class _Messages(_Results):
    """Standard error: what cannot be written is discarded."""

    def divert(self, number: int) -> None:
        """Write to another file descriptor from now on."""
        self._number = number

    def write(self, data: ReadableBuffer, /) -> int:
        with contextlib.suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes
