"""The folder of a board: its releases, the one in use, and the state, whole at every moment.

    FOLDER/
      releases/ID/      release.json, the .tflite file, its signature
      environments/KEY/ run: a script that starts the lmedge of this environment
      current           link to the release that runs
      keeper            link to the environment that decides: that of the last good release
      state.json        what proved itself, and what is on trial
      trusted.pub       the public key that the board has learned
      log.jsonl         the decisions, newest last

A name is changed by writing beside it, flushing, and renaming; then the folder is flushed too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import DeployError
from ..files import lock_open_file, temporary_name
from ..harmless import json_text
from .release import RELEASE_FILE, RELEASE_ID, Release, release_of
from .state import KEPT, Ending, Reason, Result, State, state_of

SIGNATURE_SUFFIX = ".minisig"
TRUSTED = "trusted.pub"
_MOST_LOG = 256 << 10  # bytes of log.jsonl; the older half goes then


class Store:
    """The folder of a board. Every method leaves it whole, wherever the power goes."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which `prepare` makes."""
        self.folder = folder
        self.releases = folder / "releases"
        self.environments = folder / "environments"
        self.trusted = folder / TRUSTED

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self.folder, self.releases, self.environments):
            folder.mkdir(parents=True, exist_ok=True)
            self.own(folder)

    def clean(self) -> None:
        """Remove what an interrupted copy has left; another deployment must not be at work."""
        for left in self.releases.glob(".*"):
            shutil.rmtree(left, ignore_errors=True)

    def learned(self) -> str | None:
        """Return the text of the public key that the board has learned, None if there is none.

        Raises DeployError if it cannot be read: a board that has a key never goes without it.
        """
        try:
            return self.trusted.read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise DeployError(
                f"{self.trusted}: cannot be read ({error}); write the public key there again",
                Reason.SIGNATURE,
            ) from error

    def current(self) -> str | None:
        """Return the name of the release in use, None if there is none."""
        try:
            name = (self.folder / "current").readlink().name
        except OSError:
            return None
        return name if (self.releases / name).is_dir() else None

    def present(self) -> frozenset[str]:
        """Return the names of the releases that are whole."""
        with contextlib.suppress(OSError):
            return frozenset(
                path.name
                for path in self.releases.iterdir()
                if RELEASE_ID.fullmatch(path.name) and (path / RELEASE_FILE).is_file()
            )
        return frozenset()

    def release(self, name: str) -> Release:
        """Return a release. Raises DeployError if it is not there or damaged."""
        path = self.releases / name / RELEASE_FILE
        try:
            found = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise DeployError(f"{path}: cannot be read ({error}); deploy it again") from error
        release = release_of(found, path)
        if release.name != name:
            raise DeployError(f"{path}: was changed; deploy it again")
        return release

    def file(self, release: Release) -> Path:
        """Return the path of a release's .tflite file."""
        return self.releases / release.name / release.file

    def add(self, release: Release, file: Path, signature: bytes | None) -> None:
        """Copy a release into its folder, which appears whole. Raises DeployError.

        Of a release that is there, files whose bytes have changed are replaced, except the
        signature (`checks.take_signature`).
        """
        place = self.releases / release.name
        if release.name in self.present():
            self._mend(release, file)
            return
        staged = self.releases / f".{release.name[:16]}"
        try:
            shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir()
            digest = _copy(file, staged / release.file)
            if signature is not None:
                _write(staged / (release.file + SIGNATURE_SUFFIX), signature)
            _write(staged / RELEASE_FILE, release.text().encode())
        except OSError as error:
            shutil.rmtree(staged, ignore_errors=True)
            raise DeployError(f"{place}: {error.strerror or error}", Reason.SPACE) from error
        if digest != release.sha256:
            shutil.rmtree(staged, ignore_errors=True)
            raise DeployError(f"{release.file}: arrived with other bytes", Reason.HASH)
        shutil.rmtree(place, ignore_errors=True)  # without release.json: removed half
        staged.rename(place)
        for path in (*place.iterdir(), place):
            self.own(path)
        _flush(place)
        _flush(self.releases)

    def _mend(self, release: Release, file: Path) -> None:
        path = self.file(release)
        fresh = temporary_name(path)
        try:
            if (path.parent / RELEASE_FILE).read_bytes() != release.text().encode():
                self.write(f"{self.releases.name}/{release.name}/{RELEASE_FILE}", release.text())
            if path.is_file() and _digest(path) == release.sha256:
                return
            whole = _copy(file, fresh) == release.sha256
            if whole:
                self.own(fresh)
                fresh.replace(path)
                _flush(path.parent)
        except OSError as error:
            raise DeployError(f"{path}: {error.strerror or error}", Reason.SPACE) from error
        finally:
            fresh.unlink(missing_ok=True)
        if not whole:
            raise DeployError(f"{release.file}: arrived with other bytes", Reason.HASH)

    def remove(self, name: str) -> None:
        """Remove a release, its description first: a half-removed one is none."""
        (self.releases / name / RELEASE_FILE).unlink(missing_ok=True)
        shutil.rmtree(self.releases / name, ignore_errors=True)

    def switch(self, name: str) -> None:
        """Let `current` name a release."""
        self.link("current", f"releases/{name}")

    def link(self, name: str, target: str) -> None:
        """Replace a link in the folder by one to `target`, in one step."""
        path = self.folder / name
        with contextlib.suppress(OSError):
            if str(path.readlink()) == target:
                return
        fresh = temporary_name(path)
        fresh.symlink_to(target)
        self.own(fresh)
        fresh.replace(path)
        _flush(self.folder)

    def state(self) -> State:
        """Return the state; an empty one if there is none, or if the disk has damaged it."""
        try:
            return state_of(json.loads((self.folder / "state.json").read_text("utf-8")))
        except (OSError, ValueError):
            return State()

    def change(self, how: Callable[[State], State]) -> State:
        """Replace the state by `how(state)`, alone among processes, and return it.

        Raises OSError if the disk is full; the old state then stays.
        """
        with self._alone():
            before = self.state()
            after = how(before)
            if after != before:
                self.write("state.json", json_text(after.as_dict(), indent=2) + "\n")
        if after.last is not None and after.last != before.last:
            self.note(after.last)
        return after

    def write(self, name: str, text: str) -> None:
        """Write a small file below the folder, whole or not at all. Raises OSError."""
        path = self.folder / name
        fresh = temporary_name(path)
        try:
            _write(fresh, text.encode())
            self.own(fresh)
            fresh.replace(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        _flush(path.parent)

    def note(self, ending: Ending) -> None:
        """Append a decision to the log; a full disk loses the line only."""
        path = self.folder / "log.jsonl"
        with contextlib.suppress(OSError):
            if path.exists() and path.stat().st_size > _MOST_LOG:
                lines = path.read_text("utf-8", "replace").splitlines(keepends=True)
                self.write("log.jsonl", "".join(lines[len(lines) // 2 :]))
            with path.open("a", encoding="utf-8") as stream:
                stream.write(json_text(dataclasses.asdict(ending)) + "\n")
            self.own(path)

    def prune(self) -> None:
        """Keep the releases that are good, current or on trial, and their environments."""
        state, present = self.state(), self.present()
        kept = {*state.good[:KEPT], self.current(), state.trial.release if state.trial else None}
        for name in present - kept:
            self.remove(name)
        used = set()
        for name in present & kept:
            with contextlib.suppress(DeployError):
                used.add(self.release(str(name)).environment)
        with contextlib.suppress(OSError):
            used.add((self.folder / "keeper").readlink().name)
        with contextlib.suppress(OSError), self._environments_locked():
            for path in self.environments.iterdir():
                if path.name not in used:
                    shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def _environments_locked(self) -> Iterator[None]:
        """Raise OSError while a deployment makes an environment, which no release needs yet."""
        folder = os.open(self.environments, os.O_RDONLY)
        try:
            lock_open_file(folder, wait=False)
            yield
        finally:
            os.close(folder)

    def own(self, path: Path) -> None:
        """Give a path that root made to the owner of the folder, as whom the service runs."""
        if os.geteuid() == 0:
            about = self.folder.stat()
            os.chown(path, about.st_uid, about.st_gid, follow_symlinks=False)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        path = self.folder / ".state.lock"
        with path.open("a") as stream:
            self.own(path)
            lock_open_file(stream.fileno(), wait=True)
            yield


def ending(release: str, result: Result, reason: Reason | None = None, detail: str = "") -> Ending:
    """Return the end of a deployment, at the time of this board's clock."""
    return Ending(
        release=release, result=result, reason=reason, detail=detail, time=int(time.time())
    )


def read_object(path: Path) -> Mapping[str, Any]:
    """Return the object in a small file of JSON; an empty one if there is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _copy(source: Path, target: Path) -> str:
    """Copy a file, flush it and return the SHA-256 of what was written."""
    with source.open("rb") as read, target.open("wb") as write:
        shutil.copyfileobj(read, write, 1 << 20)
        write.flush()
        os.fsync(write.fileno())
    return _digest(target)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
