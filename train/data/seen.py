"""What was found in files that were read before, so that a later run need not read them again.

There is a table of hashes, for training, and one of inspections, for the check of photographs. A
file counts as the same if its path, size, times of change and number on the disk are. What changed
less than RACY seconds before it was read is not remembered: a second change within the step of the
file system's clock would not be seen (git's documentation calls such an entry racy). The tables are
part of the cache and may be deleted at any time; without them, files are read.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from lmedge.files import cache_folder

RACY = 2.0
_FORMAT = 2  # raised with every change of a table
_MOST = 4_000_000  # files of a table, which begins anew beyond them
_BATCH = 1000  # files that are written together
logger = logging.getLogger(__name__)
State = tuple[int, int, int, int]  # size, times of change of bytes and of the entry, number


class SeenFiles:
    """A table of what was found in files, for several threads."""

    def __init__(self, path: Path, most: int = _MOST) -> None:
        self._lock, self._most = threading.Lock(), most
        self._new: dict[bytes, tuple[State, bytes]] = {}
        self._table: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._table = sqlite3.connect(path, timeout=10, check_same_thread=False)
            self._table.execute(
                "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, "
                "changed INTEGER, entry INTEGER, number INTEGER, found BLOB) WITHOUT ROWID"
            )
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def known(self, path: Path, state: State) -> bytes | None:
        """Return what was found in a file that is as it was when it was read, otherwise None."""
        with self._lock:
            if self._table is None:
                return None
            try:
                row = self._table.execute(
                    "SELECT size, changed, entry, number, found FROM files WHERE path = ?",
                    (_key(path),),
                ).fetchone()
            except sqlite3.Error as error:
                self._give_up(error)
                return None
        fits = row is not None and tuple(row[:4]) == state and isinstance(row[4], bytes)
        return row[4] if fits else None

    def keep(self, path: Path, state: State, found: bytes) -> None:
        """Remember what was found in a file that was read in this state."""
        if time.time() - max(state[1], state[2]) / 1e9 < RACY:
            return
        with self._lock:
            self._new[_key(path)] = state, found
            if len(self._new) >= _BATCH:
                self._write()

    def close(self) -> None:
        """Write what is new."""
        with self._lock:
            self._write()
            if self._table is not None:
                self._table.close()
                self._table = None

    def _write(self) -> None:
        if self._table is None or not self._new:
            return
        rows = [(path, *state, found) for path, (state, found) in self._new.items()]
        self._new.clear()
        try:
            with self._table:
                (count,) = self._table.execute("SELECT count(*) FROM files").fetchone()
                if count + len(rows) > self._most:
                    self._table.execute("DELETE FROM files")
                self._table.executemany("INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?)", rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Go on without the table: a full disk, a damaged file, no folder."""
        logger.debug("the table of files that were read is not used: %s", error)
        if self._table is not None:
            with contextlib.suppress(sqlite3.Error):
                self._table.close()
            self._table = None


@contextlib.contextmanager
def seen_files(name: str = "files", most: int = _MOST) -> Iterator[SeenFiles]:
    """Open a table in the cache by its name; it holds at most so many files."""
    seen = SeenFiles(cache_folder() / f"{name}-{_FORMAT}.sqlite", most)
    try:
        yield seen
    finally:
        seen.close()


def file_state(path: Path) -> State | None:
    """Return what changes with a file, None if that is not known."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _key(path: Path) -> bytes:
    return os.fsencode(path.absolute())
