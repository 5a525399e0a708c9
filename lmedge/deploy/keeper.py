"""The process that the service starts on a board: it runs the camera, and decides alone.

It starts the current release in the environment of that release, and itself runs in the environment
of the last good one. A release on trial that ends too often, gives no frames or stalls is left for
the one before, with no connection to anywhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from ..errors import DeployError
from ..machine import boot_id, boot_seconds
from ..systemd import notify
from .checks import require_bytes
from .decisions import condemn, journal_fields, with_start_counted, without
from .failures import Failures, run_folder
from .health import Judgement, judge, read_health
from .lock import Holder, read_holder
from .release import Release
from .state import Reason, Result, State
from .store import TRUSTED, Store, ending, read_object

LOOK = 1.0  # seconds between looks at the camera
BACK_OFF = (2.0, 300.0)  # seconds before a start: after the first failure, doubled up to the last
WELL = 60.0  # seconds of frames after which earlier failures are forgotten
END = 15.0  # seconds for a camera that is told to end
STALLED = 11  # exit code of CameraLostError
STATUS, KEEPER = "status.json", "keeper.json"
_NO_CAMERA = {7, 11}  # exit codes of SourceError and CameraLostError
_log = logging.getLogger(__name__)


class Keeper:
    """The camera of one board, kept running as long as its process lives."""

    def __init__(
        self, store: Store, *, back_off: tuple[float, float] = BACK_OFF, look: float = LOOK
    ) -> None:
        """Take the folder of the board."""
        self.store = store
        self._back_off, self._look = back_off, look
        self._ended = False
        self._child: subprocess.Popen[bytes] | None = None
        self.run_folder = run_folder(store)
        self._failures = Failures(self.run_folder)

    def run(self) -> int:
        """Run the current release until it ends or a signal comes; return the exit code.

        A release that fails its trial is replaced without leaving. Raises DeployError if there is
        no release that may run.
        """
        if keeper_lives(self.store):
            raise DeployError(f"{self.store.folder}: its keeper runs already; end that one first")
        with self._signals(), self._recorded():
            while True:
                self._pause()
                if self._ended:
                    return 0
                try:
                    release = self._next()
                except (DeployError, OSError) as error:  # a full disk takes no link
                    self._failures.add(getattr(error, "exit_code", 1))
                    raise
                code = self._keep(release)
                if code is not None:
                    return code

    def _next(self) -> Release:
        """Return the release to run now; finish what a power cut has interrupted."""
        trial = self._change(with_start_counted).trial
        if trial is not None:
            found = self._usable(trial.release, trial.key)
            if isinstance(found, Judgement):
                condemn(self.store, found)
            elif reason := trial.failure(boot_id(), boot_seconds()):
                condemn(self.store, self._explained(reason, trial.starts - 1))
                self._failures.forget()
            else:
                self.store.switch(found.name)
                return found
        return self._good_release()

    def _good_release(self) -> Release:
        """Return the current release, or a good one if that one failed or is damaged."""
        state, present, current = self.store.state(), self.store.present(), self.store.current()
        good = [name for name in state.good if name in present]
        first = [current] if current is not None and (current in good or not good) else []
        problem = Judgement(reason=None, detail=f"{self.store.folder}: no release; deploy one")
        for name in dict.fromkeys([*first, *good]):
            found = self._usable(name)
            if isinstance(found, Release):
                self.store.switch(name)
                return found
            problem = found
            ended = ending(name, Result.BACK, found.reason, found.detail)
            _log.error("release %s: %s", name[:12], found.detail)
            self._change(lambda state, ended=ended: without(state, ended))  # type: ignore[misc]
        raise DeployError(problem.detail, problem.reason)

    def _usable(self, name: str, key: str | None = None) -> Release | Judgement:
        """Return a release whose bytes are whole, otherwise the verdict on it."""
        try:
            release = self.store.release(name)
            require_bytes(self.store, release, key)
        except DeployError as error:
            return Judgement(reason=Reason(error.reason or Reason.HASH), detail=str(error))
        return release

    def _explained(self, reason: Reason, starts: int) -> Judgement:
        """Return the verdict on a release that ended too often; its last exit code tells why."""
        code = self._failures.code
        if reason is Reason.CRASH and code in _NO_CAMERA:
            reason = Reason.CAMERA
        shown = "" if code is None else f", the last with exit code {code}"
        health = read_health(self.run_folder / STATUS)
        shown += f": {health.last_error}" if health is not None and health.last_error else ""
        return Judgement(reason=reason, detail=f"{starts} starts{shown}")

    def _keep(self, release: Release) -> int | None:
        """Run a release; return the exit code of its end, None if another is to run now."""
        file = self.store.file(release)
        status = self.run_folder / STATUS
        with contextlib.suppress(OSError):
            status.unlink(missing_ok=True)
        words = ["camera", str(file), *release.capture, *release.arguments, "--headless"]
        command = [str(self.store.environments / release.environment / "run"), *words]
        _log.info("starting release %s", release.name[:12], extra=journal_fields(release.name))
        try:
            self._child = subprocess.Popen([*command, "--status", str(status)])
        except OSError as error:
            self._failures.add(1)
            raise DeployError(f"{command[0]}: {error.strerror}", Reason.ENVIRONMENT) from error
        started = boot_seconds()
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._child.wait(self._look)
                return self._child_ended(code)
            if self._ended:
                self._stop_child()
                return 0
            release = self._taken_over(release, status)
            if self._judged(release, status):
                self._stop_child()
                return None
            if self._stalled(release, status, started):
                _log.error("no frame was classified for %g s: starting again", release.stall)
                self._stop_child()
                self._failures.add(STALLED)
                return STALLED

    def _taken_over(self, release: Release, status: Path) -> Release:
        """Return the release that the running camera has, which may have changed by itself.

        A camera that was taught goes on with the new file; `taught.py` has made a release of it.
        """
        assert self._child is not None
        trial = self.store.state().trial  # changes before the link
        name = self.store.current() if trial is None else trial.release
        if name is None or name == release.name:
            return release
        health = read_health(status, self._child.pid)
        if health is None or Path(health.file).parent.name != name:
            return release
        key = None if trial is None else trial.key
        found = self._usable(name, key)
        return found if isinstance(found, Release) else release

    def _judged(self, release: Release, status: Path) -> bool:
        """Judge a trial; return True if another release is to run instead."""
        trial = self.store.state().trial
        if trial is None:
            return self.store.current() != release.name
        if trial.release != release.name:
            return True
        assert self._child is not None
        health = read_health(status, self._child.pid)
        verdict = judge(trial, release, health, boot_id(), boot_seconds())
        if verdict is None:
            return False
        if verdict.reason is not None:
            self._failures.forget()
            return condemn(self.store, verdict) is not None
        if trial.key is not None and not self._learn(trial.key):
            return False
        self._change(lambda state: state.proved(verdict.detail, int(time.time())))
        self.store.link("keeper", f"environments/{release.environment}")
        fields = journal_fields(release.name)
        _log.info("release %s is good: %s", release.name[:12], verdict.detail, extra=fields)
        return False

    def _learn(self, key: str) -> bool:
        """Learn the key of a release that has proved itself; a full disk tries again later."""
        try:
            if self.store.learned() is None:
                self.store.write(TRUSTED, key)
        except OSError as error:
            _log.error("%s: %s; free space", self.store.trusted, error.strerror or error)
            return False
        return True

    def _stalled(self, release: Release, status: Path, started: float) -> bool:
        assert self._child is not None
        health = read_health(status, self._child.pid)
        now = boot_seconds()
        if health is not None and health.frames and health.last - health.first >= WELL:
            self._failures.forget()
        last = health.last if health is not None and health.frames else started
        return now - last > release.stall

    def _child_ended(self, code: int) -> int:
        if self._ended:
            return 0
        code = 128 - code if code < 0 else code
        if code:
            self._failures.add(code)
        _log.log(logging.ERROR if code else logging.INFO, "the camera ended with code %d", code)
        return code

    def _pause(self) -> None:
        """Wait before a start that follows failures, so that a fix can arrive."""
        failures = self._failures.count
        if not failures:
            return
        pause = min(self._back_off[1], self._back_off[0] * 2 ** (failures - 1))
        _log.warning("%d failures: starting in %g s", failures, pause)
        notify(f"EXTEND_TIMEOUT_USEC={int((pause + 60) * 1e6)}\nSTATUS=starting in {pause:g} s")
        until = time.monotonic() + pause
        while not self._ended and time.monotonic() < until:
            time.sleep(min(self._look, pause))

    def _change(self, how: Callable[[State], State]) -> State:
        """Change the state; on a full disk the decision is made again at the next look."""
        try:
            return self.store.change(how)
        except OSError as error:
            _log.error("%s: %s; free space", self.store.folder, error.strerror or error)
            return self.store.state()

    def _stop_child(self) -> None:
        assert self._child is not None
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(END)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    @contextlib.contextmanager
    def _recorded(self) -> Iterator[None]:
        """Note this process, so that a second keeper does not start."""
        path = self.run_folder / KEEPER
        record = {**dataclasses.asdict(Holder.this_process()), "deadline": 0}
        with contextlib.suppress(OSError):
            path.write_text(json.dumps(record))
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def end(_: int, __: FrameType | None) -> None:
            self._ended = True

        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            if self._child is not None:
                self._stop_child()
            for number, old in before.items():
                signal.signal(number, old)


def keeper_lives(store: Store) -> bool:
    """Return True if a keeper runs on this folder."""
    found = read_holder(read_object(store.folder / "run" / KEEPER))
    return found is not None and found.lives()
