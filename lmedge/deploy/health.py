"""The health of a running camera, by the small file that `lmedge camera --status` writes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ..harmless import harmless
from ..machine import boot_id
from .release import Release
from .state import Probation, Reason
from .store import read_object

FRESH = 15.0  # seconds within which a running camera has classified a frame


@dataclasses.dataclass(frozen=True, kw_only=True)
class Health:
    """The state of a running camera. Times are seconds since the boot.

    Attributes:
        pid: The process.
        frames: Frames that were classified.
        first: The first of them.
        last: The last of them.
        rate: Frames a second since the first.
        memory_mb: Resident memory.
        busy: True if the last frame showed a known landmark.
        file: Path of the .tflite file in use; empty if it is not known.
        errors: Errors that were reported, such as an output that cannot be written.
        last_error: The last of them.
    """

    pid: int
    frames: int = 0
    first: float = 0.0
    last: float = 0.0
    rate: float = 0.0
    memory_mb: float | None = None
    busy: bool = False
    file: str = ""
    errors: int = 0
    last_error: str = ""

    @property
    def shown_errors(self) -> str:
        """The errors as the end of a sentence, empty without any."""
        if not self.errors:
            return ""
        number = "an error" if self.errors == 1 else f"{self.errors} errors, the last"
        return f"; {number}: {self.last_error}"

    def fresh(self, now: float) -> bool:
        """Return True if a frame was classified just now."""
        return self.frames > 0 and now - self.last < FRESH


def read_health(path: Path, pid: int | None = None) -> Health | None:
    """Return the health in a status file of this boot, and of process `pid` if given."""
    found: Any = read_object(path)
    try:
        if found["boot"] != boot_id():
            return None
        health = Health(
            pid=int(found["pid"]),
            frames=int(found["frames"]),
            first=float(found["first"] or 0.0),
            last=float(found["last"] or 0.0),
            rate=float(found["frames_per_second"] or 0.0),
            memory_mb=None if found["memory_mb"] is None else float(found["memory_mb"]),
            busy=bool(found["known"]),
            file=str(found.get("file", "")),
            errors=int(found.get("errors") or 0),
            last_error=harmless(found.get("last_error") or ""),
        )
    except (KeyError, TypeError, ValueError):
        return None
    return health if pid in {None, health.pid} else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judgement:
    """The end of a trial; `reason` is None if the release has proved itself."""

    reason: Reason | None
    detail: str


def judge(
    trial: Probation, release: Release, health: Health | None, boot: str, now: float
) -> Judgement | None:
    """Return the verdict on a release on trial, None while it is open."""
    if health is not None and release.memory_mb and (health.memory_mb or 0) > release.memory_mb:
        detail = f"{health.memory_mb:.0f} MB of memory, more than {release.memory_mb}"
        return Judgement(reason=Reason.MEMORY, detail=detail)
    if health is not None and health.frames and health.last - health.first >= trial.watch:
        shown = f"{health.rate:.1f} frames a second for {health.last - health.first:.0f} s"
        if health.rate >= release.least_rate:
            return Judgement(reason=None, detail=f"{shown}{health.shown_errors}")
        needed = f"{shown}; {release.least_rate:g} are needed{health.shown_errors}"
        return Judgement(reason=Reason.FRAMES, detail=needed)
    reason = trial.failure(boot, now)
    if reason is None:
        return None
    seen = health is not None and health.frames > 0
    if reason is Reason.DEADLINE and not seen:
        return Judgement(reason=Reason.CAMERA, detail="no frame was classified in time")
    detail = f"{trial.starts} starts, {trial.boots} boots" if reason is Reason.CRASH else "stalled"
    return Judgement(reason=reason, detail=detail)
