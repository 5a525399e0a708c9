"""The decisions on releases that the keeper and a deployment take alike, and their records."""

from __future__ import annotations

import dataclasses
import logging
import time

from ..machine import boot_id, boot_seconds
from .health import Judgement
from .state import Ending, Reason, State
from .store import Store

_log = logging.getLogger(__name__)


def with_start_counted(state: State) -> State:
    """Return the state after one more start of the release on trial, if there is one."""
    if state.trial is None:
        return state
    return dataclasses.replace(state, trial=state.trial.started(boot_id(), boot_seconds()))


def without(state: State, ended: Ending) -> State:
    """Return the state after a good release turned out to be damaged."""
    good = tuple(name for name in state.good if name != ended.release)
    return State(good=good, trial=state.trial, last=ended)


def condemn(store: Store, verdict: Judgement) -> str | None:
    """End the trial of a release and go back to a good one; return that, None if there is none.

    The state changes first. If the power goes before the link changes, the next start sees a
    release that is not good and not on trial, and goes on to the good one.
    """
    assert verdict.reason is not None
    reason, back = verdict.reason, None

    def ended(state: State) -> State:
        nonlocal back
        if state.trial is None:
            back = store.current()
            return state
        back = state.target(store.present())
        return state.condemned(reason, verdict.detail, int(time.time()), back)

    before = store.state().trial
    try:
        store.change(ended)
        if back is not None:
            store.switch(back)
    except OSError as error:  # a full disk: the trial goes on, and is judged again
        _log.error("%s: %s; free space", store.folder, error.strerror or error)
        return None
    if before is not None:
        _log.error(
            "release %s: %s (%s); %s",
            before.release[:12],
            reason.value,
            verdict.detail,
            f"back to {back[:12]}" if back else "no good release to go back to",
            extra=journal_fields(before.release, reason),
        )
    return back


def journal_fields(release: str, reason: Reason | None = None) -> dict[str, dict[str, str]]:
    """Return the fields of a record in the journal."""
    given = {} if reason is None else {"REASON": reason.value}
    return {"fields": {"RELEASE": release, **given}}
