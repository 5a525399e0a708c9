"""Failures of this boot, in memory: they set the pause before the next start."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..machine import boot_id
from .store import Store, read_object

_MEMORY = Path("/dev/shm")
_MOST = 64


class Failures:
    """The failed starts since the camera was last well."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of `run_folder`."""
        self._path = folder / "failures.json"

    def _record(self) -> Mapping[str, Any]:
        found = read_object(self._path)
        return found if found.get("boot") == boot_id() else {}

    @property
    def count(self) -> int:
        """The number of failures, at most 64."""
        count = self._record().get("count")
        return min(count, _MOST) if isinstance(count, int) else 0

    @property
    def code(self) -> int | None:
        """The exit code of the last failure."""
        code = self._record().get("code")
        return code if isinstance(code, int) else None

    def add(self, code: int) -> None:
        """Count one more."""
        record = {"boot": boot_id(), "count": self.count + 1, "code": code}
        with contextlib.suppress(OSError):
            self._path.write_text(json.dumps(record))

    def forget(self) -> None:
        """Begin anew."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def run_folder(store: Store) -> Path:
    """Return a folder of memory for what need not outlast the boot; `FOLDER/run` links to it."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        place = Path(given)
    elif _MEMORY.is_dir():
        place = _MEMORY / f"lmedge-{os.geteuid()}-{store.folder.stat().st_ino}"
    else:
        place = store.folder / "run-files"
    with contextlib.suppress(OSError):
        place.mkdir(0o755, exist_ok=True)
    if not place.is_dir() or place.is_symlink() or place.stat().st_uid != os.geteuid():
        place = store.folder / "run-files"  # somebody else has that name
        place.mkdir(0o755, exist_ok=True)
    store.link("run", str(place))
    return place
