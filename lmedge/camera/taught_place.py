"""The place of the file that a camera teaches: a plain path, or what a board makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ..model_file import ModelFile
from ..teach.history import TaughtBefore, TaughtHistory


class TaughtPlace(Protocol):
    """The place of the file on disk.

    Attributes:
        serves: False if taught files may not take over here; they are only kept.
    """

    serves: bool

    @property
    def held(self) -> Path:
        """The path that one teacher at a time holds."""

    def latest(self, running: ModelFile) -> ModelFile:
        """Return the file that the next lesson adds to."""

    def path_of(self, data: bytes) -> Path:
        """Return the path that a file of these bytes will have."""

    def replace(self, before: ModelFile, data: bytes, lesson: Mapping[str, Any]) -> str:
        """Put the bytes there; return a line for people. Raises LmedgeError if nothing changed."""

    def previous(self, now: ModelFile) -> TaughtBefore | None:
        """Return the file that `now` has replaced, None if none is kept."""

    def go_back(self, now: ModelFile) -> None:
        """Put the previous one there. Raises LmedgeError if nothing changed."""


class PlainPlace:
    """A file that nothing else manages, with its history beside it."""

    serves = True

    def __init__(self, path: Path) -> None:
        """Take the path of the file."""
        self._path = path
        self._history = TaughtHistory(path)

    @property
    def held(self) -> Path:
        """The path that one teacher at a time holds."""
        return self._history.folder

    def latest(self, running: ModelFile) -> ModelFile:
        """Return the running file."""
        return running

    def path_of(self, data: bytes) -> Path:
        """Return the path, which never changes."""
        return self._path

    def replace(self, before: ModelFile, data: bytes, lesson: Mapping[str, Any]) -> str:
        """Replace the file."""
        self._history.replace(before, data, lesson)
        return ""

    def previous(self, now: ModelFile) -> TaughtBefore | None:
        """Return the file before `now`."""
        return self._history.previous(now)

    def go_back(self, now: ModelFile) -> None:
        """Go back to it."""
        self._history.go_back(now)
