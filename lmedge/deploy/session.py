"""One board from here: look, compare, send, and watch what the board decides.

The work on the board is done by `lmedge board install`, apart from the connection.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import shlex
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import DeployError, HostError
from ..harmless import harmless
from ..model_file import read_model
from ..remote.host import RemoteHost, RemotePython
from ..remote.link import PATIENCE, Link
from ..remote.packing import unpack, write_wheel
from ..remote.ssh import Connection
from .compare import (
    changes_for,
    check_board,
    check_key,
    check_room,
    check_source,
    source_doubts,
)
from .facts import BoardFacts, read_facts
from .outfit import Outfit, setup_script
from .plan import BoardPlan
from .release import RELEASE_FILE, Release
from .state import Reason
from .store import SIGNATURE_SUFFIX, TRUSTED
from .wheelhouse import fill_wheelhouse

# Steps before `lmedge board install`
_FIRST = {"starting", "waiting for another environment", "making the environment"}
_LATE = {"switching", "watching"}  # steps after which the board finishes alone
Step = Callable[[str], None]


class Done(enum.StrEnum):
    """The end of a deployment as a table shows it."""

    GOOD = "deployed"
    UNCHANGED = "unchanged"
    PLANNED = "would deploy"
    WAITING = "waits for its supervisor"
    REFUSED = "refused"
    BACK = "went back"
    FAILED = "failed"
    LOST = "not reached"
    LEFT = "left alone"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoardResult:
    """The end of a deployment to one board.

    Attributes:
        board: Name of the board.
        done: Its end.
        reason: One of `state.Reason`; None if nothing went wrong, or the board was not reached.
        detail: One line.
        warnings: Problems of the board that did not stop it.
    """

    board: str
    done: Done
    reason: Reason | None = None
    detail: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """True unless the board runs, or would run, what was asked for."""
        return self.done not in {Done.GOOD, Done.UNCHANGED, Done.PLANNED, Done.WAITING}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeployOptions:
    """The options that all boards of a call share.

    Attributes:
        file: The .tflite file.
        check: True changes nothing and returns what would be done.
        wheelhouse: Folder of wheels for boards without a package index.
        when_idle: Seconds to wait at most until a board is idle.
        patience: Seconds for which a lost connection is tried again.
        interactive: True if ssh may ask at the terminal.
        key: Text of the public key that the boards are to learn.
        interrupted: Set to end the work on each board before its switch.
    """

    file: Path
    check: bool = False
    wheelhouse: Path | None = None
    when_idle: float | None = None
    patience: float = PATIENCE
    interactive: bool = False
    key: str | None = None
    interrupted: threading.Event = dataclasses.field(default_factory=threading.Event)


def deploy_to(plan: BoardPlan, options: DeployOptions, step: Step) -> BoardResult:
    """Bring a file onto one board, and return the end; errors of the board are results."""
    link = Link(
        host=plan.host,
        options=plan.ssh_options,
        interactive=options.interactive,
        patience=options.patience,
    )
    seen: list[str] = []

    def noted(name: str) -> None:
        if options.interrupted.is_set() and not _LATE & {name, *seen}:
            raise HostError("interrupted; the board is as it was")
        if not seen or seen[-1] != name:
            seen.append(name)
            step(name)

    try:
        noted("connecting")
        with Connection(link) as connection:
            remote = RemoteHost(connection)
            try:
                return _Session(plan, options, remote, noted).run()
            finally:
                if not _LATE & set(seen) or seen[-1] == "ended":
                    remote.remove()
    except DeployError as error:
        reason = None if error.reason is None else Reason(error.reason)
        return BoardResult(board=plan.name, done=Done.REFUSED, reason=reason, detail=str(error))
    except HostError as error:
        late = "; the board goes on alone: ask `lmedge fleet status`" if _LATE & set(seen) else ""
        return BoardResult(board=plan.name, done=Done.LOST, detail=f"{error}{late}")


class _Session:
    """The steps on one board."""

    def __init__(
        self, plan: BoardPlan, options: DeployOptions, remote: RemoteHost, step: Step
    ) -> None:
        self._plan, self._options, self._remote, self._step = plan, options, remote, step
        self._followed, self._latest = 0, "starting"

    def run(self) -> BoardResult:
        plan, remote = self._plan, self._remote
        self._step("looking")
        python = remote.prepare(plan.python)
        facts = read_facts(remote, python, plan.folder, plan.service.name)
        own = plan.python is not None and python.rank < 2
        check_board(facts, own=own)
        check_source(plan, facts)
        with tempfile.TemporaryDirectory(prefix="lmedge-") as local:
            packed = Path(local)
            wheel = write_wheel(packed)
            outfit = Outfit.of(wheel, plan, facts, python, own=own)
            release = plan.release(
                self._options.file, _sha256(self._options.file), outfit.key, __version__
            )
            warnings = (*facts.warnings, *self._warnings(facts), *source_doubts(plan, facts))
            check_key(facts, self._options.file, self._options.key)
            changes = changes_for(plan, facts, release, self._options.key)
            if not changes:
                return self._result(Done.UNCHANGED, f"release {release.name[:12]}", warnings)
            fresh = release.environment not in facts.environments
            check_room(facts, self._options.file.stat().st_size, own=own, environment=fresh)
            if self._options.check:
                return self._result(Done.PLANNED, "; ".join(changes), warnings)
            self._pack(packed, wheel, release, outfit, facts, python)
            self._step("sending")
            remote.connection.send(packed, remote.folder, rsync=remote.rsync)
        return self._install(facts, release, outfit, warnings)

    def _pack(
        self,
        packed: Path,
        wheel: Path,
        release: Release,
        outfit: Outfit,
        facts: BoardFacts,
        python: RemotePython,
    ) -> None:
        """Fill the folder that is sent: the release, and what its environment needs."""
        inside = packed / "release"
        inside.mkdir()
        file = self._options.file.absolute()
        (inside / release.file).symlink_to(file)
        signature = file.with_name(file.name + SIGNATURE_SUFFIX)
        if signature.is_file():
            (inside / signature.name).symlink_to(signature)
        (inside / RELEASE_FILE).write_text(release.text(), "utf-8")
        if self._options.key is not None:
            (inside / TRUSTED).write_text(self._options.key, "utf-8")
        if release.environment in facts.environments:
            wheel.unlink()
        elif outfit.own_packages:
            unpack(wheel, packed / "packages")
            wheel.unlink()
        elif self._options.wheelhouse is not None:
            self._step("fetching packages")
            extras = f"[{','.join(outfit.extras)}]" if outfit.extras else ""
            house = fill_wheelhouse(
                self._options.wheelhouse, facts.machine, python.version, [f"{wheel}{extras}"]
            )
            (packed / "wheelhouse").mkdir()
            for path in house.glob("*.whl"):
                if path.name == wheel.name:  # as it was when a version was first packed
                    continue
                (packed / "wheelhouse" / path.name).symlink_to(path.absolute())

    def _install(
        self, facts: BoardFacts, release: Release, outfit: Outfit, warnings: tuple[str, ...]
    ) -> BoardResult:
        words = ["--service", self._plan.service.name]
        for option, value in (
            ("--memory-mb", self._plan.service.memory_mb),
            ("--cpu-percent", self._plan.service.cpu_percent),
            ("--when-idle", self._options.when_idle),
        ):
            words += [] if value is None else [option, f"{value:g}"]
        script = setup_script(
            outfit, facts, self._remote.folder, offline=self._options.wheelhouse is not None
        )
        text = f"{script}exec {shlex.join([f'{outfit.folder(facts)}/run'])} board install "
        text += shlex.join([facts.folder, f"{self._remote.folder}/release", *words])
        self._remote.start_apart(["sh", "-c", text])
        code = self._remote.wait("deployment", self._follow)
        text = self._remote.printed("output")
        self._follow(text)
        said = self._objects(text)
        self._step("ended")
        end: dict[str, Any] = said[-1] if said else {}
        if "waiting" in end:
            return self._result(Done.WAITING, f"start {end['waiting']}", warnings)
        last = self._remote.printed("errors").strip().splitlines()
        detail = str(end.get("detail") or (last[-1] if last else f"exit code {code}"))
        done = {
            "good": Done.GOOD,
            "refused": Done.REFUSED,
            "went back": Done.BACK,
            "failed": Done.FAILED,
        }.get(str(end.get("result")), Done.FAILED)
        reason = end.get("reason")
        if "result" not in end and self._latest in _FIRST:
            reason = Reason.ENVIRONMENT  # otherwise the deployment was ended there
        known = {one.value for one in Reason}
        given = Reason(reason) if reason in known else None
        return self._result(done, detail.removeprefix("lmedge: "), warnings, given)

    def _follow(self, text: str) -> None:
        """Pass on all steps that the board has printed so far; those seen before are not shown."""
        for found in self._objects(text)[self._followed :]:
            self._followed += 1
            if isinstance(found.get("step"), str):
                self._latest = harmless(found["step"])
                self._step(self._latest)
        self._step(self._latest)

    @staticmethod
    def _objects(text: str) -> list[dict[str, Any]]:
        found = []
        for line in text.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                found.append(value)
        return found

    def _warnings(self, facts: BoardFacts) -> tuple[str, ...]:
        found = []
        if not facts.systemd:
            found.append("no systemd: start the keeper by another supervisor")
        elif not facts.root and not facts.linger:
            found.append("run `sudo loginctl enable-linger` there, or it does not start by itself")
        return tuple(found)

    def _result(
        self, done: Done, detail: str, warnings: tuple[str, ...], reason: Reason | None = None
    ) -> BoardResult:
        return BoardResult(
            board=self._plan.name,
            done=done,
            reason=reason,
            detail=harmless(detail),
            warnings=warnings,
        )


def _sha256(file: Path) -> str:
    return hashlib.sha256(read_model(file).data).hexdigest()
