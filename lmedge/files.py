"""Files that appear under their name only if they are complete.

Everything that lmedge writes goes through this module: its own bytes, and those of libraries that
write to a path. An error of the disk is one line with the file's name, whoever raised it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from .errors import LmedgeError
from .harmless import json_text

PREFIX = ".lmedge-"  # of temporary files and folders, which are hidden beside their target
_STALE = 3600.0  # seconds after which a file that no process holds was left by a kill
# Libraries that are written in C or Rust report a failed write as an error of their own.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES)
# File systems without hard links, such as FAT, report one of these.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def cache_folder() -> Path:
    """Return the folder of files that can be made again: LMEDGE_CACHE or ~/.cache/lmedge.

    A user without a home folder has no cache: nothing can be read from or written to the path.
    """
    if given := os.environ.get("LMEDGE_CACHE"):
        return Path(given)
    try:
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry in the list of users
        return Path(os.devnull) / "lmedge"
    return home / ".cache" / "lmedge"


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an error of the disk in the block, also a library's own, into one line on `path`."""
    try:
        yield
    except LmedgeError:
        raise
    except Exception as error:
        reason = disk_problem(error)
        if reason is None:
            raise
        raise LmedgeError(
            f"cannot write {path}: {reason}; free space or choose another folder"
        ) from error


def disk_problem(error: Exception) -> str | None:
    """Return the reason if an error means that a file cannot be written, otherwise None."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return next((text for text in map(os.strerror, _DISK) if text in str(error)), None)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success flush it to disk and rename it to `path`.

    On failure the temporary file is removed and the old file at `path` stays. Raises LmedgeError
    if the disk is full or the folder cannot be written.
    """
    path = Path(path)
    cache = cache_folder()
    own = path.is_relative_to(cache)
    with writing(path):
        if own:  # images of any source: as private as the most private one
            cache.parent.mkdir(parents=True, exist_ok=True)
            cache.mkdir(0o700, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path, 0o600 if own else 0o666) as temporary:
            yield temporary
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            temporary.replace(path)


def temporary_name(path: Path) -> Path:
    """Return a hidden name beside `path` that no other process has.

    The suffix is kept: libraries choose a format by it.
    """
    return path.with_name(f"{PREFIX}{secrets.token_hex(6)}{path.suffix}")


@contextlib.contextmanager
def _temporary(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Make an empty file beside `path` and remove it, unless it has another name by then."""
    _remove_left_behind(path.parent)
    temporary = temporary_name(path)
    held = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            lock_open_file(held, wait=False)
        yield temporary
    finally:
        os.close(held)
        temporary.unlink(missing_ok=True)


@functools.lru_cache(maxsize=1024)
def _remove_left_behind(folder: Path) -> None:
    """Remove what killed processes left in a folder, once for each folder and process."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            if not entry.name.startswith(PREFIX) or entry.is_symlink():
                continue
            if time.time() - entry.stat().st_mtime < _STALE:
                continue
            if entry.is_dir():
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.is_file():
                with contextlib.suppress(OSError), Path(entry.path).open("rb") as stream:
                    lock_open_file(stream.fileno(), wait=False)
                    Path(entry.path).unlink()


@contextlib.contextmanager
def replacing_together(
    folder: str | os.PathLike[str], marker: str, older: Collection[str] = ()
) -> Iterator[Path]:
    """Give an empty folder; on success its files take their places in `folder` together.

    Nothing in `folder` changes until all are written. Then `marker` and the files of `older`
    are removed, and `marker` is placed last: if it is there, the files beside it belong to it.

    Args:
        folder: The folder of the results; it is made if it is missing.
        marker: The name of the file that is placed last.
        older: Patterns of the files in `folder` that an earlier call may have written.

    Raises:
        LmedgeError: A file cannot be written.
    """
    folder = Path(folder)
    new = not folder.exists()
    with writing(folder / marker):
        folder.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
    try:
        try:
            yield staged
        except LmedgeError as error:  # its line names the file as it would have been
            raise type(error)(str(error).replace(str(staged), str(folder))) from error
        written = sorted(path.relative_to(staged) for path in staged.rglob("*") if path.is_file())
        with writing(folder / marker):
            for name in written:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / marker).unlink(missing_ok=True)
            for old in [path for pattern in older for path in folder.glob(pattern)]:
                if old.relative_to(folder) not in written:
                    old.unlink(missing_ok=True)
            for name in sorted(written, key=lambda name: (name == Path(marker), name)):
                (staged / name).replace(folder / name)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        if new:
            with contextlib.suppress(OSError):  # unless something is in it
                folder.rmdir()


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text to `path`, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON to `path`, whole or not at all.

    Raises:
        LmedgeError: The file cannot be written, or a number is not finite.
    """
    try:
        text = json_text(value, indent=2, allow_nan=False)
    except ValueError as error:
        raise LmedgeError(f"{path} was not written: one of its numbers is not finite") from error
    write_text(path, text + "\n")


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise LmedgeError before long work if `path` cannot be written at its end.

    Nothing is made, as by `check_folder`.
    """
    path = Path(path)
    if path.is_dir():
        raise LmedgeError(f"{path} is a folder; name a file in it")
    _try_writing(path, path.parent, path.name)


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Raise LmedgeError before long work if files cannot be written to a folder at its end.

    Nothing is made: a folder that does not exist is judged by the one that it would stand in.
    """
    folder = Path(folder)
    _try_writing(folder, folder, "probe")


def _try_writing(asked: Path, folder: Path, name: str) -> None:
    """Write and remove a file in a folder, or in the nearest above it; errors name `asked`."""
    with writing(asked):
        there = next(one for one in (folder, *folder.absolute().parents) if os.path.lexists(one))
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{there} is no folder")
        with _temporary(there / name):
            pass


def copy_as(source: Path, target: Path) -> bool:
    """Copy a file to a free name; return False if the name is taken, also by another process.

    The copy appears whole or not at all, whatever ends the process. Its permissions and times are
    those of the source, and while it is written nobody else can read it. Raises LmedgeError.
    """
    try:
        read = source.open("rb")
    except OSError as error:
        raise LmedgeError(f"{source}: cannot be read ({error.strerror}); copy it again") from error
    with read, writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if (linked := _copy_nameless(read, target)) is not None:
            return linked
        read.seek(0)
        with _temporary(target, 0o600) as temporary:
            with temporary.open("rb+") as copy:
                _fill(copy, read)
            try:
                return _link(temporary, target)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
            return _rename_to_free(temporary, target)


def _copy_nameless(read: IO[bytes], target: Path) -> bool | None:
    """Copy through a file without a name, of which a kill leaves nothing; None if that fails.

    Not every system, and not every file system of Linux, has such files.
    """
    nameless = getattr(os, "O_TMPFILE", None)
    if nameless is None:
        return None
    try:
        descriptor = os.open(target.parent, nameless | os.O_RDWR, 0o600)
        with os.fdopen(descriptor, "wb") as copy:
            _fill(copy, read)
            return _link(Path(f"/proc/self/fd/{descriptor}"), target)
    except OSError:
        return None  # a full disk fails again, with its name


def _fill(copy: IO[bytes], read: IO[bytes]) -> None:
    """Copy bytes, permissions and times, and flush them to disk."""
    shutil.copyfileobj(read, copy, 1 << 20)
    copy.flush()
    about = os.fstat(read.fileno())
    with contextlib.suppress(OSError):  # a file system without permissions
        os.fchmod(copy.fileno(), stat.S_IMODE(about.st_mode) & 0o777)
    os.utime(copy.fileno(), ns=(about.st_atime_ns, about.st_mtime_ns))
    os.fsync(copy.fileno())


def _link(made: Path, target: Path) -> bool:
    """Give a file its name; return False if the name is taken."""
    try:
        os.link(made, target, follow_symlinks=True)
    except FileExistsError:
        return False
    return True


def _rename_to_free(made: Path, target: Path) -> bool:
    """Rename, while the folder is locked against other processes of lmedge."""
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        lock_open_file(folder, wait=True)
        if os.path.lexists(target):
            return False
        made.replace(target)
    finally:
        os.close(folder)
    return True


def lock_open_file(descriptor: int, *, wait: bool) -> None:
    """Lock an open file until it is closed. Raises OSError if another process holds it.

    A system without fcntl, such as Windows, has no lock.
    """
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
