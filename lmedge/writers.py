"""Files that grow under their own name: one writer at a time, and none that is read as well."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import LmedgeError
from .files import PREFIX, lock_open_file


@contextlib.contextmanager
def held(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other writers, also in other processes, off a file that grows under its own name.

    A lock file stands beside `path` meanwhile; a kill leaves it and frees the lock. Nothing is
    locked if `path` is a device or a pipe, or if its folder cannot be written.

    Raises:
        LmedgeError: Another writer holds the file.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        yield
        return
    real = Path(os.path.realpath(path))
    lock = real.with_name(f"{PREFIX}{hashlib.sha256(os.fsencode(real.name)).hexdigest()[:12]}.lock")
    descriptor = _held_descriptor(lock, path)
    try:
        yield
    finally:
        if descriptor is not None:
            lock.unlink(missing_ok=True)
            os.close(descriptor)


def _held_descriptor(lock: Path, path: Path) -> int | None:
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        try:
            lock_open_file(descriptor, wait=False)
        except BlockingIOError:
            os.close(descriptor)
            raise LmedgeError(
                f"{path}: another lmedge is writing to it; choose another name, or end that one"
            ) from None
        except OSError:  # a file system without locks
            os.close(descriptor)
            return None
        with contextlib.suppress(OSError):  # it may have been removed before it was locked
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        os.close(descriptor)


def check_outputs(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Raise LmedgeError if an output is one of the inputs, or if two outputs are one file."""
    read = {os.path.realpath(path) for path in inputs}
    written: set[str] = set()
    for path in outputs:
        real = os.path.realpath(path)
        if real in read:
            raise LmedgeError(f"{path}: the command reads this file too; choose another name")
        if real in written:
            raise LmedgeError(f"{path}: named for two outputs; choose another name for one")
        written.add(real)
