"""Reading of files that others gave: no pipe is waited for, no device is read, nothing endless."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

TEXT_BYTES = 64 << 20  # more than any description, split or report that lmedge writes


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raise OSError if there is something at `path` that is no file with an end."""
    mode = os.stat(path).st_mode  # noqa: PTH116  (links are followed)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file", os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a pipe, socket or device, not a file", os.fspath(path))


def read_regular(path: str | os.PathLike[str], most: int = TEXT_BYTES) -> bytes:
    """Return the bytes of a file.

    Args:
        path: The file. A link is followed.
        most: The most bytes that it may have.

    Raises:
        OSError: It cannot be read, is no file, or is larger.
    """
    check_regular(path)
    # A pipe that takes the place of the file meanwhile would be waited for.
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(number, "rb") as stream:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "a pipe, socket or device, not a file", os.fspath(path))
        data = stream.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"larger than {most >> 20} MiB", os.fspath(path))
    return data


def read_regular_text(path: Path) -> str:
    """Return the UTF-8 text of a file. Raises OSError as `read_regular`, or UnicodeDecodeError."""
    return read_regular(path).decode("utf-8")
