"""The board decides alone: what proves itself stays, anything else is left for what was good."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from pathlib import Path

import pytest

from lmedge.deploy.facts import facts_of
from lmedge.deploy.failures import Failures, run_folder
from lmedge.deploy.fleet import status_of
from lmedge.deploy.health import Health, read_health
from lmedge.deploy.look import board_facts
from lmedge.deploy.release import Release
from lmedge.deploy.state import Probation, Reason, Result, State
from lmedge.deploy.store import Store
from lmedge.errors import DeployError
from lmedge.machine import boot_id, boot_seconds
from tests.lmedge.deploy.boards import board, keep_once, kept, put, release, until


def begin(
    store: Store, kind: str, tmp_path: Path, *, seconds: float = 20.0, **settings: object
) -> Release:
    """Put a release on trial, as `lmedge board install` does."""
    before = store.current()
    made = put(store, kind, tmp_path, good=False, **settings)
    trial = Probation(
        release=made.name,
        before=before,
        watch=made.watch,
        boot=boot_id(),
        deadline=boot_seconds() + seconds,
    )
    store.change(lambda state: State(good=state.good, trial=trial, last=state.last))
    return made


def ended(store: Store) -> tuple[Result, Reason | None] | None:
    state = store.state()
    return None if state.trial or state.last is None else (state.last.result, state.last.reason)


def running(store: Store) -> Release | None:
    """Return the release whose camera gives frames now."""
    name = store.current()
    health = read_health(store.folder / "run" / "status.json")
    return store.release(name) if name and health and health.fresh(boot_seconds()) else None


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return board(tmp_path / "board")


def test_a_release_that_gives_frames_becomes_good(store: Store, tmp_path: Path) -> None:
    made = begin(store, "well", tmp_path)
    with kept(store):
        until(lambda: ended(store))
        assert ended(store) == (Result.GOOD, None)
        assert store.state().good == (made.name,)
        until(lambda: running(store) == made)


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        ("crash", {}, Reason.CRASH),
        ("gone", {}, Reason.CAMERA),
        ("silent", {"stall": 0.3}, Reason.CAMERA),
        ("heavy", {"memory_mb": 200}, Reason.MEMORY),
        ("well 2", {"least_rate": 100.0}, Reason.FRAMES),
    ],
)
def test_a_bad_release_is_left_for_the_good_one(
    store: Store, tmp_path: Path, kind: str, settings: dict[str, object], reason: Reason
) -> None:
    old = put(store, "well", tmp_path)
    new = begin(store, kind, tmp_path, **settings)
    with kept(store):
        until(lambda: ended(store))
        assert ended(store) == (Result.BACK, reason), store.state()
        until(lambda: running(store) == old)
    assert store.state().good == (old.name,)
    decisions = (store.folder / "log.jsonl").read_text().splitlines()
    assert len(decisions) == 1 and json.loads(decisions[0])["release"] == new.name


def test_the_reason_of_a_camera_that_does_not_open_is_told(store: Store, tmp_path: Path) -> None:
    """In the end of the trial, and in the status of a board that runs already."""
    put(store, "well", tmp_path)
    begin(store, "gone", tmp_path)
    with kept(store):
        until(lambda: ended(store))
    last = store.state().last
    assert last is not None
    assert last.detail == "3 starts, the last with exit code 7: camera 0 does not open"
    store.change(lambda state: State())
    put(store, "gone", tmp_path)
    assert [keep_once(store), keep_once(store)] == [7, 7]
    status = status_of("kiosk", facts_of(board_facts(str(store.folder))))
    assert status.state == "no frames"
    assert status.last_error == (
        "the camera ended 2 times with exit code 7: camera 0 does not open"
    )


def test_a_camera_that_was_taught_is_not_started_again(store: Store, tmp_path: Path) -> None:
    """It has taken the new file over by itself; the trial of that is as any other."""
    old = put(store, "well", tmp_path)
    with kept(store):
        until(lambda: running(store) == old)
        status = store.folder / "run" / "status.json"
        before = read_health(status)
        made, path = release("well taught", tmp_path)
        store.add(made, path, None)
        status.with_name("status.json.taught").write_text(f"{store.file(made)}\n")
        until(lambda: (read_health(status) or Health(pid=0)).file == str(store.file(made)))
        trial = Probation(
            release=made.name,
            before=old.name,
            watch=made.watch,
            boot=boot_id(),
            deadline=boot_seconds() + 20,
        )
        store.change(lambda state: State(good=state.good, trial=trial))
        time.sleep(0.3)  # the link changes after the state
        store.switch(made.name)
        until(lambda: ended(store))
        assert ended(store) == (Result.GOOD, None)
        assert store.state().good == (made.name, old.name)
        after = read_health(status)
        assert before is not None and after is not None and after.pid == before.pid
        status.with_name("status.json.taught").write_text(f"{store.file(old)}\n")  # an undo
        until(lambda: (read_health(status) or Health(pid=0)).file == str(store.file(old)))
        store.switch(old.name)
        until(lambda: running(store) == old)
        assert (read_health(status) or Health(pid=0)).pid == before.pid


def test_a_release_that_hangs_is_left_at_its_deadline(store: Store, tmp_path: Path) -> None:
    old = put(store, "well", tmp_path)
    begin(store, "silent", tmp_path, seconds=2.5)
    with kept(store):
        until(lambda: running(store) == old)
    assert ended(store) == (Result.BACK, Reason.CAMERA)


def test_without_a_good_release_the_failed_one_stays_and_says_so(
    store: Store, tmp_path: Path
) -> None:
    begin(store, "crash", tmp_path)
    with kept(store):
        until(lambda: ended(store))
        assert ended(store) == (Result.FAILED, Reason.CRASH)
    assert store.current() is not None and store.state().good == ()


def test_a_power_cut_before_the_link_changes_is_finished(store: Store, tmp_path: Path) -> None:
    """In both directions: towards a trial, and back from one that had failed."""
    old = put(store, "well", tmp_path)
    new = begin(store, "well 2", tmp_path)
    store.switch(old.name)
    with kept(store):
        until(lambda: ended(store) == (Result.GOOD, None))
        assert store.current() == new.name
    bad = begin(store, "crash", tmp_path)
    store.change(lambda state: state.condemned(Reason.CRASH, "3 starts", 0, new.name))
    assert store.current() == bad.name
    with kept(store):
        until(lambda: running(store) == new)


def test_a_damaged_release_is_left_for_another_good_one(store: Store, tmp_path: Path) -> None:
    old = put(store, "well", tmp_path)
    new = put(store, "well 2", tmp_path)
    store.file(new).write_text("a worn card")
    with kept(store):
        until(lambda: running(store) == old)
    assert ended(store) == (Result.BACK, Reason.HASH)
    store.file(old).write_text("too")
    with pytest.raises(DeployError, match="bytes changed") as found:
        keep_once(store)
    assert found.value.reason == Reason.HASH
    assert Failures(run_folder(store)).count == 1, "the pauses before the next starts grow"


def test_the_exit_code_is_that_of_the_camera_and_failures_are_counted(
    store: Store, tmp_path: Path
) -> None:
    put(store, "gone", tmp_path)
    failures = Failures(run_folder(store))
    failures.forget()
    assert keep_once(store) == 7 and (failures.count, failures.code) == (1, 7)
    assert keep_once(store) == 7 and failures.count == 2


def test_a_camera_that_stalls_is_ended_with_the_code_of_a_lost_camera(
    store: Store, tmp_path: Path
) -> None:
    put(store, "silent", tmp_path, stall=0.2)
    assert keep_once(store) == 11


def test_a_new_trial_is_seen_without_a_restart(store: Store, tmp_path: Path) -> None:
    old = put(store, "well", tmp_path)
    with kept(store) as keeper:
        until(lambda: running(store) == old)
        begin(store, "crash", tmp_path)
        until(lambda: ended(store) == (Result.BACK, Reason.CRASH))
        until(lambda: running(store) == old)
        assert keeper.poll() is None


def test_it_ends_its_camera_when_it_is_told_to_end(store: Store, tmp_path: Path) -> None:
    put(store, "well", tmp_path)
    with kept(store) as keeper:
        status = store.folder / "run" / "status.json"
        until(lambda: read_health(status))
        health = read_health(status)
        assert health is not None
        keeper.send_signal(signal.SIGTERM)
        assert keeper.wait(10) == 0
        until(lambda: not Path(f"/proc/{health.pid}").exists())


def test_a_full_disk_at_the_start_has_growing_pauses(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor starts the keeper again at once, and a start takes a processor for seconds."""
    put(store, "well", tmp_path)

    def full(_: Store, name: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    monkeypatch.setattr(Store, "switch", full)
    for number in (1, 2):
        with pytest.raises(OSError, match="No space left"):
            keep_once(store)
        assert Failures(run_folder(store)).count == number


def test_a_second_keeper_does_not_start(store: Store, tmp_path: Path) -> None:
    put(store, "well", tmp_path)
    with kept(store):
        until(lambda: running(store))
        with pytest.raises(DeployError, match="runs already"):
            keep_once(store)


def test_a_killed_keeper_leaves_a_board_that_starts_again(store: Store, tmp_path: Path) -> None:
    """As a power cut does, but in the same boot: the trial goes on with one start more."""
    old = put(store, "well", tmp_path)
    new = begin(store, "well 2", tmp_path, watch=2.0)
    with kept(store) as keeper:
        until(lambda: running(store) == new)
        health = read_health(store.folder / "run" / "status.json")
        assert health is not None
        for pid in (keeper.pid, health.pid):
            os.kill(pid, signal.SIGKILL)
        keeper.wait()
    assert store.state().trial is not None
    with kept(store):
        until(lambda: ended(store) == (Result.GOOD, None))
    assert store.state().good == (new.name, old.name)
