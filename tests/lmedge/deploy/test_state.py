"""The decisions: starts, boots, deadlines, and the release to go back to."""

from __future__ import annotations

import dataclasses

import pytest

from lmedge.deploy.health import Health, judge
from lmedge.deploy.release import Release
from lmedge.deploy.state import BOOTS, GRACE, STARTS, Probation, Reason, Result, State, state_of

TRIAL = Probation(release="new", before="old", watch=30.0, boot="a", deadline=200.0)
RELEASE = Release(file="x.tflite", sha256="0" * 64, environment="0" * 16, memory_mb=200)


def test_a_reboot_is_no_failed_start_and_moves_the_deadline() -> None:
    trial = TRIAL
    for _ in range(STARTS):
        trial = trial.started("a", 10.0)
        assert trial.failure("a", 10.0) is None
    again = trial.started("b", 5.0)
    assert (again.starts, again.boots, again.deadline) == (1, 1, 5.0 + 30.0 + GRACE)
    assert again.failure("b", 5.0) is None
    assert trial.started("a", 11.0).failure("a", 11.0) is Reason.CRASH


def test_a_slow_board_may_have_more_time() -> None:
    slow = Probation(release="new", before=None, watch=30.0, grace=900.0)
    assert slow.started("a", 10.0).deadline == 10.0 + 30.0 + 900.0


def test_a_board_that_restarts_with_a_release_again_and_again_leaves_it() -> None:
    trial = TRIAL
    for number in range(BOOTS + 1):
        assert trial.failure(f"boot {number}", 1.0) is None
        trial = trial.started(f"boot {number}", 1.0)
    assert trial.failure(trial.boot, 1.0) is Reason.CRASH


def test_the_deadline_counts_in_its_own_boot_only() -> None:
    assert TRIAL.failure("a", 200.1) is Reason.DEADLINE
    assert TRIAL.failure("b", 10_000.0) is None


def test_it_goes_back_to_what_was_good_and_never_to_anything_else() -> None:
    state = State(good=("older", "old"), trial=TRIAL)
    assert state.target(frozenset({"old", "older", "new"})) == "old"
    assert state.target(frozenset({"older", "new"})) == "older"
    assert State(good=("older",), trial=TRIAL).target(frozenset({"old", "older"})) == "older"
    assert State(trial=TRIAL).target(frozenset({"old", "new"})) is None


def test_a_failed_release_is_good_no_more_and_has_one_reason() -> None:
    state = State(good=("new", "old"), trial=TRIAL).condemned(Reason.CRASH, "3 starts", 7, "old")
    assert state.good == ("old",) and state.trial is None
    assert state.last is not None
    assert (state.last.result, state.last.reason) == (Result.BACK, Reason.CRASH)
    failed = State(trial=TRIAL).condemned(Reason.CAMERA, "none", 7, None)
    assert failed.last is not None and failed.last.result is Result.FAILED


def test_what_was_broken_before_is_not_blamed_on_the_new_release() -> None:
    trial = Probation(release="new", before="old", before_well=False)
    state = State(good=("old",), trial=trial).condemned(Reason.CRASH, "3 starts", 7, "old")
    assert state.last is not None and "was not well either" in state.last.detail


def test_a_state_survives_its_file_and_a_damaged_one_is_told() -> None:
    state = State(good=("old",), trial=TRIAL).condemned(Reason.SLOW, "d", 7, "old")
    assert state_of(state.as_dict()) == state
    assert state_of(State(trial=TRIAL).as_dict()) == State(trial=TRIAL)
    for damaged in (None, [], {"good": [1]}, {"trial": {"release": 1}}, {"last": {"result": "?"}}):
        with pytest.raises(ValueError):
            state_of(damaged)


@pytest.mark.parametrize(
    ("health", "reason"),
    [
        (Health(pid=1, frames=90, first=10.0, last=40.0, rate=3.0), None),
        (Health(pid=1, frames=9, first=10.0, last=40.0, rate=0.3), Reason.FRAMES),
        (Health(pid=1, frames=1, memory_mb=201.0), Reason.MEMORY),
    ],
)
def test_frames_for_long_enough_prove_a_release(health: Health, reason: Reason | None) -> None:
    verdict = judge(TRIAL, RELEASE, health, "a", 41.0)
    assert verdict is not None and verdict.reason is reason


def test_the_verdict_waits_for_the_watch_and_ends_with_the_deadline() -> None:
    early = Health(pid=1, frames=90, first=10.0, last=39.0, rate=3.0)
    assert judge(TRIAL, RELEASE, early, "a", 40.0) is None
    late = judge(TRIAL, RELEASE, early, "a", 201.0)
    assert late is not None and late.reason is Reason.DEADLINE
    blind = judge(TRIAL, RELEASE, None, "a", 201.0)
    assert blind is not None and blind.reason is Reason.CAMERA


def test_errors_of_the_watch_are_in_its_end() -> None:
    """An output that cannot be written is no reason to go back; whoever deploys sees it."""
    health = Health(pid=1, frames=90, first=10.0, last=40.0, rate=3.0)
    for errors, words in ((0, ""), (1, "; an error: disk full"), (3, "; 3 errors, the last: disk")):
        seen = dataclasses.replace(health, errors=errors, last_error="disk full")
        verdict = judge(TRIAL, RELEASE, seen, "a", 41.0)
        assert verdict is not None and verdict.reason is None
        assert verdict.detail.startswith(f"3.0 frames a second for 30 s{words}")
        assert ("disk" in verdict.detail) == bool(errors)
