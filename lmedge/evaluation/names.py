"""The names of images in lists that people write: relative to DATA, in whatever form."""

from __future__ import annotations

import os
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..text_files import nfc


class ImageNames:
    """The images of a folder, found by names as people and their programs write them.

    Backslashes, `./`, absolute paths below the folder, blanks at the ends, and accents in another
    Unicode form all name the same image. Nothing is guessed: a name that differs otherwise, or that
    two images share, names none.
    """

    def __init__(self, names: Iterable[str], data: Path) -> None:
        """Take the images' names relative to `data`, with forward slashes."""
        self._names = set(names)
        self._roots = tuple({nfc(path.as_posix()) for path in (data.absolute(), data.resolve())})
        self._composed: dict[str, list[str]] = defaultdict(list)
        for name in self._names:
            self._composed[nfc(name)].append(name)

    def find(self, written: str) -> str | None:
        """Return the name of the image that `written` means, None if it means none."""
        if written in self._names:
            return written
        for form in _forms(written):
            found = self._composed.get(self._relative(nfc(form)), ())
            if len(found) == 1:
                return found[0]
        return None

    def _relative(self, name: str) -> str:
        """Return a name below the folder; a path that leads elsewhere stays as it is."""
        name = posixpath.normpath(name)
        for root in self._roots:
            if name.startswith(f"{root}/"):
                return name[len(root) + 1 :]
            folder = PurePosixPath(root).name  # as on another computer
            absolute = name.startswith("/") or PureWindowsPath(name).drive
            _, found, inside = name.rpartition(f"/{folder}/")
            if absolute and found and inside in self._composed:
                return inside
        return name


def _forms(written: str) -> Iterator[str]:
    """Yield the ways to read a name; on this system a backslash may be part of it."""
    for name in (written, written.strip().strip("\"'")):
        yield name
        yield name.replace("\\", "/")


def relative_name(path: Path, data: Path) -> str:
    """Return the path below `data` with forward slashes, as split.csv and exclude.txt hold it.

    Bytes that are not UTF-8, and so cannot stand in those files, are replaced.
    """
    return os.fsencode(path.relative_to(data).as_posix()).decode("utf-8", "replace")
