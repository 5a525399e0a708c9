"""Files that a camera teaches on a board: releases of the board's own, on trial as any other.

    FOLDER/
      taught/NAME.tflite    what was taught last, for `lmedge fleet pull`
      taught/NAME.before/   the files before it

A board that has learned a key runs signed files alone. There a lesson ends in taught/: it is
brought home, signed and deployed. The next lesson adds to it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import DeployError, LmedgeError, ModelFileError
from ..files import write_bytes, writing
from ..model_file import ModelFile, parse_model, read_bytes
from ..teach.history import TaughtBefore, TaughtHistory
from .checks import require_bytes, require_space
from .install import begin_trial
from .lock import held_alone
from .release import RELEASE_FILE, Release
from .state import Reason, Result, State
from .store import Store, ending

TAUGHT_FOLDER = "taught"
_SECONDS = 120.0  # for which a lesson may hold the board
_SIGN = "this board runs signed files alone: pull this one, sign it and deploy it"


def board_place(path: Path) -> BoardPlace | None:
    """Return the place of a file that is a release of a board, None for any other file."""
    home = path.absolute().parent
    if home.parent.name != "releases" or not (home / RELEASE_FILE).is_file():
        return None
    return BoardPlace(Store(home.parent.parent), home.name)


class BoardPlace:
    """The release that runs on a board, and what is taught in its place.

    Attributes:
        serves: False if the board has learned a key, so that taught files only wait.
    """

    def __init__(self, store: Store, running: str) -> None:
        """Take the board, and the name of the release that runs. Raises DeployError."""
        self._store = store
        self._release = store.release(running)
        self.serves = store.learned() is None
        self._path = store.folder / TAUGHT_FOLDER / self._release.file
        self._history = TaughtHistory(self._path)
        self._waiting = None if self.serves else self._found()

    @property
    def held(self) -> Path:
        """The path that one teacher at a time holds."""
        return self._history.folder

    def latest(self, running: ModelFile) -> ModelFile:
        """Return the file that the next lesson adds to: one that waits, or the running one."""
        return running if self._waiting is None else self._waiting

    def path_of(self, data: bytes) -> Path:
        """Return the path that a release of these bytes has."""
        return self._store.file(self._of(data))

    def replace(self, before: ModelFile, data: bytes, lesson: Mapping[str, Any]) -> str:
        """Put a taught file into service on trial, or let it wait for a signature.

        Raises:
            LmedgeError: The board is busy, or its disk is full. Nothing has changed then.
        """
        with self._held():
            self._lay(before)
            self._history.replace(before, data, lesson)
            if not self.serves:
                self._waiting = parse_model(data, self._path)
                return _SIGN
            try:
                self._serve(data)
            except BaseException:
                self._history.go_back(parse_model(data, self._path))
                raise
        return ""

    def previous(self, now: ModelFile) -> TaughtBefore | None:
        """Return the file that `now` has replaced, None if none is kept."""
        return self._history.previous(now)

    def go_back(self, now: ModelFile) -> None:
        """Put the file before `now` into its place again.

        A release that was good is so at once; another one is on trial again.

        Raises:
            LmedgeError: As of `replace`.
        """
        with self._held():
            before = self._history.previous(now)
            if before is None:
                raise LmedgeError(f"{now.path}: no file before it is kept")
            if self.serves:
                self._serve_again(before.data)
            self._history.go_back(now)
            if not self.serves:
                self._waiting = self._found()

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        try:
            with held_alone(self._store, _SECONDS):
                yield
        except OSError as error:
            raise DeployError(
                f"{self._store.folder}: {error.strerror or error}; nothing was changed",
                Reason.SPACE,
            ) from error

    def _of(self, data: bytes) -> Release:
        return dataclasses.replace(self._release, sha256=hashlib.sha256(data).hexdigest())

    def _found(self) -> ModelFile | None:
        """Return the file that waits, if it was taught from the release that runs."""
        with contextlib.suppress(ModelFileError):
            found = parse_model(read_bytes(self._path), self._path)
            step = self._history.previous(found)
            if step is not None and step.lesson.get("running") == self._release.sha256:
                return found
        return None

    def _lay(self, before: ModelFile) -> None:
        """Lay the file that a lesson adds to into taught/; keep one that was taught from another.

        Another release was deployed since, and nobody has brought that file home perhaps.
        """
        with contextlib.suppress(ModelFileError):
            data = read_bytes(self._path)
            if data == before.data:
                return
            there = parse_model(data, self._path)
            if self._history.previous(there) is not None:
                kept = self._path.with_name(f"{self._path.stem}-{there.sha256[:8]}.tflite")
                with writing(kept):
                    self._path.replace(kept)
        write_bytes(self._path, before.data)

    def _serve(self, data: bytes) -> None:
        """Add a release of these bytes, and begin its trial."""
        store, release = self._store, self._of(data)
        store.prune()  # the last good ones, the current one and its trial stay
        require_space(store, len(data))
        store.add(release, self._path, None)
        try:
            require_bytes(store, release)  # also if a key was learned meanwhile
            begin_trial(store, release, before=store.current(), well=True)
        except BaseException:
            if store.current() != release.name:
                store.remove(release.name)
            raise

    def _serve_again(self, data: bytes) -> None:
        store, release = self._store, self._of(data)
        if release.name not in store.state().good or release.name not in store.present():
            with contextlib.ExitStack() as stack:
                path = self._path.with_name(f".{release.sha256[:16]}.tflite")
                stack.callback(lambda: path.unlink(missing_ok=True))
                write_bytes(path, data)
                store.add(release, path, None)
                require_bytes(store, release)
                begin_trial(store, release, before=store.current(), well=True)
            return
        require_bytes(store, release)
        current = store.current()

        def back(state: State) -> State:
            others = tuple(name for name in state.good if name not in {release.name, current})
            text = f"a lesson was taken back, to {release.name[:12]}"
            return State(
                good=(release.name, *others),
                last=ending(current or "", Result.BACK, Reason.HAND, text),
            )

        store.change(back)
        store.switch(release.name)
