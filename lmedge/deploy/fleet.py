"""What is asked of boards that run already: their state, their log, a step back, their frames."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import HostError
from ..harmless import harmless, harmless_lines
from ..remote.host import RemoteHost, RemotePython
from ..remote.link import PATIENCE, Link
from ..remote.ssh import Connection, LostError
from .facts import BoardFacts, read_facts
from .plan import BoardPlan
from .pull import Pulled, Puller

_FRESH = 15.0  # seconds within which a running camera has classified a frame


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoardStatus:
    """A line of `lmedge fleet status`.

    Attributes:
        board: Name of the board.
        reached: False if it did not answer; `detail` has the reason then.
        release: The release in use.
        file: Name of its .tflite.
        state: `well`, `no frames`, `on trial` or `no release`.
        uptime: Seconds since the boot of the board.
        frames_per_second: Rate of the camera since it started.
        unknown_share: Share of its frames without a known landmark.
        celsius: Temperature of the processor.
        memory_mb: Megabytes of the camera.
        free_mb: Free megabytes of the disk.
        last_error: The last error that the camera reported, and how often it ended if it gives no
            frames.
        last_result: End of the last deployment.
        last_reason: Its reason.
        detail: One line on that.
        warnings: Problems of power, heat and clock.
    """

    board: str
    reached: bool = True
    release: str | None = None
    file: str | None = None
    state: str = ""
    uptime: float | None = None
    frames_per_second: float | None = None
    unknown_share: float | None = None
    celsius: float | None = None
    memory_mb: float | None = None
    free_mb: int | None = None
    last_error: str | None = None
    last_result: str | None = None
    last_reason: str | None = None
    detail: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def well(self) -> bool:
        """True if the camera gives frames."""
        return self.reached and self.state in {"well", "on trial"}


class Visit:
    """A connection to one board with its facts; a context manager."""

    def __init__(self, plan: BoardPlan, *, patience: float = PATIENCE, interactive: bool = False):
        """Take the plan of the board; nothing is connected yet."""
        self.plan = plan
        self._connection = Connection(
            Link(
                host=plan.host,
                options=plan.ssh_options,
                interactive=interactive,
                patience=patience,
            )
        )
        self._remote = RemoteHost(self._connection)
        self.facts: BoardFacts
        self.python: RemotePython

    def __enter__(self) -> Visit:
        try:
            self.python = self._remote.prepare(self.plan.python)
            self.facts = read_facts(
                self._remote, self.python, self.plan.folder, self.plan.service.name
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remote.remove()
        self._connection.close()

    def run(self, script: str) -> str:
        """Return what a script prints there; it may run twice. Raises HostError if it fails."""
        return harmless_lines(self._connection.run(script))

    def board(self, *words: str) -> str:
        """Run `lmedge board` there once, of the environment that decides, and return its lines.

        Raises HostError also if the connection is lost: a second call could undo the first.
        """
        run = f"{self.facts.folder}/keeper/run"
        command = shlex.join([run, "board", *words, "--service", self.plan.service.name])
        there = f"[ -x {shlex.quote(run)} ] || {{ echo no release is there >&2; exit 1; }}\n"
        try:
            return harmless_lines(self._connection.attempt(f"{there}{command} </dev/null\n"))
        except LostError as lost:
            raise HostError(
                f"{self.plan.host}: the connection was lost ({lost}); look at the status before "
                "you try again"
            ) from lost

    def status(self) -> BoardStatus:
        """Return the line of this board."""
        return status_of(self.plan.name, self.facts)

    def log(self, lines: int) -> str:
        """Return the last decisions of the board, and the last lines of its journal."""
        folder, unit = shlex.quote(self.facts.folder), shlex.quote(self.plan.service.name)
        scope = "-u" if self.facts.root else "--user-unit"
        return self.run(
            f"tail -n {lines} {folder}/log.jsonl 2>/dev/null\n"
            f"journalctl {scope} {unit} -n {lines} -o short-iso --no-pager 2>/dev/null\nexit 0\n"
        )

    def remove(self, *, purge: bool) -> None:
        """Stop the service and remove its unit; with `purge` the folder too."""
        self.board("remove", self.facts.folder)
        if purge:
            self.run(f"rm -rf {shlex.quote(self.facts.folder)}\n")

    def pull(self, folder: Path, *, delete: bool, step: Callable[[str], None]) -> Pulled:
        """Bring home what the board has collected and was taught, as of `Puller.pull`."""
        puller = Puller(self.plan, self.facts.folder, self._connection, rsync=self._remote.rsync)
        return puller.pull(folder, delete=delete, step=step)


def status_of(board: str, facts: BoardFacts) -> BoardStatus:
    """Return the line of a board by its facts."""
    health, last = facts.health, facts.state.last
    frames, unknown = _number(health.get("frames")), _number(health.get("unknown"))
    fresh = health.get("boot") == facts.boot and frames and facts.uptime is not None
    seen = _number(health.get("last"))
    fresh = bool(fresh and seen is not None and (facts.uptime or 0.0) - seen < _FRESH)
    if facts.current is None:
        state = "no release"
    elif not fresh:
        state = "no frames"
    else:
        state = "well" if facts.state.trial is None else "on trial"
    error = health.get("away") or health.get("last_error")
    if not fresh and (ended := _ended(facts)):
        error = ended if error is None else f"{ended}: {error}"
    return BoardStatus(
        board=board,
        release=facts.current,
        file=None if facts.release is None else harmless(facts.release.file),
        state=state,
        uptime=facts.uptime,
        frames_per_second=_number(health.get("frames_per_second")) if fresh else None,
        unknown_share=unknown / frames if frames and unknown is not None else None,
        celsius=facts.celsius,
        memory_mb=_number(health.get("memory_mb")) if fresh else None,
        free_mb=facts.free_mb,
        last_error=None if error is None else str(error),
        last_result=None if last is None else last.result.value,
        last_reason=None if last is None or last.reason is None else last.reason.value,
        detail="" if last is None else harmless(last.detail),
        warnings=facts.warnings,
    )


def _ended(facts: BoardFacts) -> str:
    """Return how often the camera ended since it was last well, empty for never."""
    count, code = (_number(facts.failures.get(name)) for name in ("count", "code"))
    if not count or facts.failures.get("boot") != facts.boot:
        return ""
    times = "once" if count == 1 else f"{count:.0f} times"
    return f"the camera ended {times}" + ("" if code is None else f" with exit code {code:.0f}")


def describe(status: BoardStatus) -> Iterator[str]:
    """Yield the cells of a line, in the order of COLUMNS."""

    def shown(value: float | None, pattern: str) -> str:
        return "" if value is None else pattern.format(value)

    yield status.board
    yield status.state if status.reached else "not reached"
    yield (status.release or "")[:12]
    yield shown(None if status.uptime is None else status.uptime / 3600, "{:.1f} h")
    yield shown(status.frames_per_second, "{:.1f}")
    yield shown(status.unknown_share, "{:.0%}")
    yield shown(status.celsius, "{:.0f}")
    yield shown(status.free_mb, "{:.0f} MB")
    failed = status.last_result not in {None, "good"}
    reason = f"{status.last_result}: {status.last_reason}" if failed else ""
    yield "; ".join(
        text
        for text in (reason, status.last_error or "", *status.warnings, status.detail)
        if text and (text != status.detail or not status.reached)
    )


COLUMNS = ("board", "state", "release", "up", "frames/s", "unknown", "°C", "free", "last")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        return None
    return float(value)
