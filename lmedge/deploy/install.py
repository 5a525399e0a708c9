"""The way of a release into service, on the board: checks, the switch, and the watch.

Nothing that runs is touched until every check has passed. From then on the state on disk leads: the
keeper ends the trial whether this process lives or not.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import DeployError
from ..machine import boot_id, boot_seconds
from .checks import (
    require_bytes,
    require_camera,
    require_golden,
    require_offered,
    require_space,
    require_speed,
    take_signature,
)
from .decisions import condemn
from .failures import Failures
from .health import Judgement, read_health
from .keeper import STATUS, keeper_lives
from .lock import held_alone
from .release import Release
from .service import Service, unit_text
from .state import Ending, Probation, Reason, Result, State
from .store import SIGNATURE_SUFFIX, Store, ending

LONGEST = 900.0  # seconds that a deployment may hold the board, besides its watch
LOOK = 0.5  # seconds between looks at the state
IDLE = 30.0  # seconds without a known landmark after which a board counts as idle
HOLD = "busy"  # a file by which programs of the board say "not now"
Step = Callable[[str], None]


class Installer:
    """A deployment on this board. `step` is called with each step's name."""

    def __init__(
        self,
        store: Store,
        service: Service | None,
        step: Step,
        when_idle: float | None = None,
        key: str | None = None,
    ) -> None:
        """Take the folder and the service; None leaves the keeper to another supervisor.

        `when_idle` is the number of seconds to wait at most until the board is idle, `key` the
        text of a public key that the board is to learn.
        """
        self.store = store
        self.service = service
        self._step = step
        self._when_idle, self._key = when_idle, key

    def install(self, release: Release, file: Path) -> Ending | None:
        """Bring a release into service and return the end of its trial.

        None means that the trial waits for a supervisor to start the keeper. Raises DeployError
        if the release is refused; then nothing has changed.
        """
        self.store.prepare()
        longest = LONGEST + (self._when_idle or 0.0) + release.watch + release.grace
        with held_alone(self.store, longest):
            self.store.clean()
            try:
                self._check(release, file)
                self._wait_for_idle()
            except DeployError as error:
                self._refuse(release, error)
                raise
            self._begin(release)
            if self.service is None and not keeper_lives(self.store):
                return None
            ended = self._watch(release)
            self.store.prune()
            return ended

    def _check(self, release: Release, file: Path) -> None:
        self._step("checking the file")
        require_space(self.store, file.stat().st_size)
        signature = file.with_name(file.name + SIGNATURE_SUFFIX)
        self.store.add(release, file, signature.read_bytes() if signature.is_file() else None)
        take_signature(self.store, release, signature, self._key)
        require_bytes(self.store, release, self._key)
        self._step("running golden images")
        require_golden(self.store, release)
        if release.budget_ms is not None:
            self._step("measuring")
            require_speed(self.store, release)
        require_offered(release)
        if not self._camera_proved(release):
            self._step("waiting for a frame")
            require_camera(self.store, release)

    def _camera_proved(self, release: Release) -> bool:
        """Return True if the running camera gives frames of the same source: it is then taken."""
        running = self._running()
        return running is not None and running.source == release.source and self._well()

    def _running(self) -> Release | None:
        name = self.store.current()
        try:
            return None if name is None else self.store.release(name)
        except DeployError:
            return None

    def _well(self) -> bool:
        health = read_health(self.store.folder / "run" / STATUS)
        return health is not None and health.fresh(boot_seconds())

    def _wait_for_idle(self) -> None:
        """Wait while the board is busy. Raises DeployError if it stays so."""
        until = boot_seconds() + (self._when_idle or 0.0)
        quiet, shown = boot_seconds(), False
        while True:
            now, held = boot_seconds(), (self.store.folder / HOLD).exists()
            health = read_health(self.store.folder / "run" / STATUS)
            if health is not None and health.busy:
                quiet = now
            if not held and (self._when_idle is None or now - quiet >= IDLE):
                return
            if health is None and not held:
                return
            if now >= until:
                why = f"{HOLD} stands in its folder" if held else "it shows a landmark"
                raise DeployError(
                    f"{self.store.folder}: the board is busy ({why}); try later or longer with "
                    "--when-idle",
                    Reason.BUSY,
                )
            if not shown:
                self._step("waiting until the board is idle")
            shown = True
            time.sleep(LOOK)

    def _refuse(self, release: Release, error: DeployError) -> None:
        state = self.store.state()
        if release.name not in {*state.good, self.store.current()}:
            self.store.remove(release.name)
        reason = Reason(error.reason) if error.reason else None
        self.store.change(
            lambda state: state.refused(ending(release.name, Result.REFUSED, reason, str(error)))
        )

    def _begin(self, release: Release) -> None:
        """Put the release on trial, name it `current` and start the service."""
        self._step("switching")
        before = self.store.current()
        well = before is None or self.service is None or self._well()
        if not (self.store.folder / "keeper").exists():
            self.store.link("keeper", f"environments/{release.environment}")

        try:
            begin_trial(self.store, release, before=before, well=well, key=self._key)
        except OSError as error:
            text = f"{self.store.folder}: {error.strerror}; nothing was changed"
            raise DeployError(text, Reason.SPACE) from error
        if self.service is None:
            return
        try:
            system = self.service.system
            self.service.install(unit_text(self.store.folder, self.service.options, system=system))
            self.service.restart()
        except (DeployError, OSError) as error:
            condemn(self.store, Judgement(reason=Reason.SERVICE, detail=str(error)))
            self._restart_quietly()

    def _watch(self, release: Release) -> Ending:
        """Wait for the end of the trial; end it here if nothing runs that could."""
        self._step("watching")
        state = self.store.state()
        while state.trial is not None and state.trial.release == release.name:
            late = state.trial.deadline + LOOK * 20
            if boot_seconds() > late:
                condemn(
                    self.store,
                    Judgement(reason=Reason.DEADLINE, detail="the service did not start it"),
                )
                self._restart_quietly()
            time.sleep(LOOK)
            state = self.store.state()
        if state.last is None or state.last.release != release.name:
            raise DeployError(f"{self.store.folder}: another deployment took over", Reason.BUSY)
        return state.last

    def _restart_quietly(self) -> None:
        if self.service is None:
            return
        try:
            self.service.restart()
        except DeployError:
            return  # the ending has the first reason


def begin_trial(
    store: Store, release: Release, *, before: str | None, well: bool, key: str | None = None
) -> None:
    """Put a release on trial, and name it `current`.

    Args:
        store: The board.
        release: A release that is there.
        before: The release that runs now, if any.
        well: True if that one is well.
        key: Text of a public key that the board is to learn.

    Raises:
        OSError: The disk is full.
    """

    def begun(state: State) -> State:
        trial = Probation(
            release=release.name,
            before=before if before != release.name else None,
            before_well=well,
            watch=release.watch,
            grace=release.grace,
            boot=boot_id(),
            deadline=boot_seconds() + release.watch + release.grace,
            key=key,
        )
        good = tuple(one for one in state.good if one != release.name)
        return dataclasses.replace(state, good=good, trial=trial)

    store.change(begun)
    store.switch(release.name)
    Failures(store.folder / "run").forget()  # those of the release before


def roll_back(store: Store, service: Service | None) -> str:
    """Go back by hand to the good release before the current one; return its name.

    Raises DeployError if there is none.
    """
    store.prepare()
    with held_alone(store, LONGEST):
        current, state = store.current(), store.state()
        trial = state.trial
        others = [name for name in state.good if name in store.present() and name != current]
        if not others:
            raise DeployError(f"{store.folder}: no other release was ever good; deploy one")
        target = others[0]

        def back(state: State) -> State:
            ended = ending(current or "", Result.BACK, Reason.HAND, f"to {target[:12]}")
            rest = tuple(name for name in state.good if name not in {target, current})
            left = () if trial is not None or current not in state.good else (str(current),)
            return State(good=(target, *rest, *left), last=ended)

        store.change(back)
        store.switch(target)
        Failures(store.folder / "run").forget()
        store.link("keeper", f"environments/{store.release(target).environment}")
        if service is not None:
            service.restart()
        return target
