"""One writer at a time: of a folder, or of a file that grows under its own name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import LmedgeError
from .files import PREFIX, lock_open_file, writing

LOCK_SECONDS = 10.0  # a training whose parent was killed ends well within


@contextlib.contextmanager
def held(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other writers, also in other processes, off a file that grows under its own name.

    A lock file stands beside `path` meanwhile; a kill leaves it and frees the lock. Its folder is
    made if it is missing, and removed again if nothing was written into it. Nothing is locked if
    `path` is a device or a pipe, or if its folder cannot be written.

    Raises:
        LmedgeError: Another writer holds the file.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        yield
        return
    real = Path(os.path.realpath(path))
    lock = real.with_name(f"{PREFIX}{hashlib.sha256(os.fsencode(real.name)).hexdigest()[:12]}.lock")
    descriptor = None
    missing = [folder for folder in real.parents if not folder.exists()]
    with contextlib.suppress(OSError):
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(
            lock,
            f"{path}: another lmedge is writing to it; choose another name, or end that one",
        )
    try:
        yield
    finally:
        if descriptor is not None:
            lock.unlink(missing_ok=True)
            os.close(descriptor)
        with contextlib.suppress(OSError):  # the first that is not empty ends it
            for folder in missing:
                folder.rmdir()


@contextlib.contextmanager
def alone(
    folder: Path, command: str, name: str = ".lock", seconds: float | None = None
) -> Iterator[None]:
    """Hold a folder, which is made if it is missing, against other processes of the same command.

    Args:
        folder: The folder.
        command: The command, for the error.
        name: A file in the folder, which is made if it is missing, and which is never replaced.
        seconds: The time to wait for the other process; LOCK_SECONDS unless given.

    Raises:
        LmedgeError: Another process holds the folder. A file system without locks has none.
    """
    with writing(folder / name):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(
            folder / name,
            f"another `{command}` is at work in {folder}; wait for it or name another folder with "
            "--out",
            LOCK_SECONDS if seconds is None else seconds,
        )
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(lock: Path, refusal: str, seconds: float = 0.0) -> int | None:
    """Open and lock a file, which is made if it is missing; None on a file system without locks.

    Raises:
        LmedgeError: Another process holds it for longer than `seconds`; `refusal` is the message.
        OSError: The file cannot be opened.
    """
    until = time.monotonic() + seconds
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            lock_open_file(descriptor, wait=False)
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() >= until:
                raise LmedgeError(refusal) from None
            time.sleep(0.2)
            continue
        except OSError:
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
