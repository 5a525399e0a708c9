"""A taught file on disk that is replaced whole, and the last ones before it.

    FILE.tflite
    FILE.before/0007-<SHA-256 of what replaced it, 16 digits>.tflite    and its .json, the lesson

A step back is only taken if its name tells that it was replaced by the bytes that are there now.
Whatever ends the process, FILE.tflite has the old bytes or the new ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import LmedgeError, ModelFileError
from ..files import write_bytes, write_json, writing
from ..model_file import ModelFile, parse_model, read_bytes

KEPT = 3  # files before the one in use
_STEP = re.compile(r"(\d{4,9})-([0-9a-f]{16})\.tflite")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaughtBefore:
    """A file that another one has replaced: its bytes, and the lesson that came after it."""

    data: bytes = dataclasses.field(repr=False)
    lesson: Mapping[str, Any]


class TaughtHistory:
    """The file of a path, replaced and taken back. One process at a time does that."""

    def __init__(self, path: Path) -> None:
        """Take the path of the file."""
        self.path = path
        self.folder = path.with_name(f"{path.stem}.before")

    def replace(self, before: ModelFile, data: bytes, lesson: Mapping[str, Any]) -> None:
        """Replace the file by other bytes, and keep it among the last ones.

        Args:
            before: The file that is there.
            data: The bytes of the new one.
            lesson: What was taught, for JSON.

        Raises:
            LmedgeError: Another program has changed the file, or the disk is full. Nothing has
                changed then.
        """
        self._check_unchanged(before)
        steps = self._steps()
        step = self.folder / f"{(steps[-1][0] if steps else 0) + 1:04d}-{_short(data)}.tflite"
        try:
            write_json(step.with_suffix(".json"), dict(lesson))
            write_bytes(step, before.data)
            write_bytes(self.path, data)
        except BaseException:
            self._drop(step)
            raise
        flush(self.path.parent)
        for _, old in self._steps()[:-KEPT]:
            self._drop(old)

    def previous(self, now: ModelFile) -> TaughtBefore | None:
        """Return the file that `now` has replaced, None if it is not known any more."""
        step = self._step_before(now.data)
        if step is None:
            return None
        try:
            lesson = json.loads(step.with_suffix(".json").read_text("utf-8"))
        except (OSError, ValueError):
            lesson = {}
        try:
            found = parse_model(read_bytes(step), step)
        except ModelFileError:
            return None
        return TaughtBefore(data=found.data, lesson=lesson if isinstance(lesson, dict) else {})

    def go_back(self, now: ModelFile) -> None:
        """Take back the last replacement.

        Raises:
            LmedgeError: There is none, another program has changed the file, or the disk is full.
        """
        self._check_unchanged(now)
        step, before = self._step_before(now.data), self.previous(now)
        if step is None or before is None:
            raise LmedgeError(f"{self.path}: no file before it is kept; there is nothing to undo")
        write_bytes(self.path, before.data)
        flush(self.path.parent)
        self._drop(step)

    def _check_unchanged(self, now: ModelFile) -> None:
        if read_bytes(self.path) != now.data:
            raise LmedgeError(
                f"{self.path}: another program has changed it since it was loaded; start again"
            )

    def _step_before(self, data: bytes) -> Path | None:
        wanted = _short(data)
        return next((path for _, path in reversed(self._steps()) if wanted in path.name), None)

    def _steps(self) -> list[tuple[int, Path]]:
        with contextlib.suppress(OSError):
            found = [(_STEP.fullmatch(path.name), path) for path in self.folder.iterdir()]
            return sorted((int(match[1]), path) for match, path in found if match)
        return []

    def _drop(self, step: Path) -> None:
        with writing(self.folder):
            step.unlink(missing_ok=True)
            step.with_suffix(".json").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()  # if it is empty


def flush(folder: Path) -> None:
    """Flush the names in a folder to disk, if its file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
