"""Reading of files that others gave: no pipe is waited for, no device is read, nothing endless."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

TEXT_BYTES = 64 << 20  # more than any description, split or report that lmedge writes


def is_regular(mode: int) -> bool:
    """Return True for the `st_mode` of a file with an end: no folder, pipe, socket or device."""
    return stat.S_ISREG(mode)


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raise OSError if there is something at `path` that is no file with an end.

    It is an IsADirectoryError for a folder, and has the number EINVAL for a pipe, socket or device.
    """
    _check(os.stat(path).st_mode, path)  # noqa: PTH116  (links are followed)


def _check(mode: int, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file", os.fspath(path))
    if not is_regular(mode):
        raise OSError(errno.EINVAL, "a pipe, socket or device, not a file", os.fspath(path))


def read_regular(path: str | os.PathLike[str], most: int = TEXT_BYTES) -> bytes:
    """Return the bytes of a file.

    Args:
        path: The file. A link is followed.
        most: The most bytes that it may have.

    Raises:
        OSError: It cannot be read, is no file (as of `check_regular`), or is larger (EFBIG).
    """
    check_regular(path)
    # A pipe that takes the place of the file meanwhile would be waited for.
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(number, "rb") as stream:
        about = os.fstat(number)
        _check(about.st_mode, path)
        # Python allocates all that it is asked to read, whatever there is.
        data = stream.read(min(about.st_size, most) + 1)
        if len(data) > about.st_size:  # the file grew, or its system does not know the size
            data += stream.read(max(0, most + 1 - len(data)))
    if len(data) > most:
        raise OSError(errno.EFBIG, f"larger than {most >> 20} MiB", os.fspath(path))
    return data


def read_regular_text(path: Path) -> str:
    """Return the UTF-8 text of a file. Raises OSError as `read_regular`, or UnicodeDecodeError."""
    return read_regular(path).decode("utf-8")
