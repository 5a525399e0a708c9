"""The folder of a board: whole wherever the power goes, locked against others, bounded."""

from __future__ import annotations

import functools
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lmedge.deploy import lock
from lmedge.deploy.checks import require_bytes, require_space
from lmedge.deploy.lock import held_alone
from lmedge.deploy.release import Release
from lmedge.deploy.state import Probation, Reason, Result, State
from lmedge.deploy.store import Store, ending
from lmedge.errors import DeployError
from lmedge.machine import boot_id, boot_seconds, process_start
from tests.lmedge.deploy.boards import board, cut_at, put, release


def update(store: Store, old: Release, new: Release, path: Path) -> None:
    """Do what a deployment does on the disk."""
    store.add(new, path, b"signature")
    trial = Probation(release=new.name, before=old.name, boot=boot_id(), deadline=1e9)
    store.change(lambda state: State(good=state.good, trial=trial))
    store.switch(new.name)
    store.change(lambda state: state.proved("", 0))
    store.prune()


def test_a_damaged_release_is_whole_again_when_it_is_deployed_again(tmp_path: Path) -> None:
    store = board(tmp_path / "board")
    made = put(store, "well", tmp_path)
    path = store.file(made)
    path.write_text("worn")
    described = path.with_name("release.json")
    described.write_text(described.read_text().replace('"watch": 0.3', '"watch": 0.4'))
    for look in (lambda: require_bytes(store, made), lambda: store.release(made.name)):
        with pytest.raises(DeployError, match="deploy it again"):
            look()
    other = tmp_path / "other"
    other.write_text("other bytes")
    with pytest.raises(DeployError, match="arrived with other bytes"):
        store.add(made, other, None)
    assert path.read_text() == "worn" and len(list(path.parent.iterdir())) == 2
    store.add(made, tmp_path / "incoming well" / path.name, None)
    require_bytes(store, store.release(made.name))
    assert len(list(path.parent.iterdir())) == 2


def test_what_root_makes_belongs_to_the_user_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A camera that teaches writes there as that user, and takes the lock of deployments."""
    given = set()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, *_, **__: given.add(os.lstat(path).st_ino))
    store = Store(tmp_path / "board")
    store.prepare()
    old, path = release("well 1", tmp_path)
    store.add(old, path, None)
    with held_alone(store, 60.0):
        update(store, old, *release("well 2", tmp_path))
    names = {"releases", "environments", "current", "state.json", ".state.lock", ".lock.lock"}
    assert names <= {one.name for one in store.folder.iterdir()}
    assert [one for one in store.folder.rglob("*") if os.lstat(one).st_ino not in given] == []


def test_the_power_may_go_at_every_step_of_an_update(tmp_path: Path) -> None:
    """The old release or the new one is current, each whole, and the state is readable."""
    seen = set()
    for number in itertools.count():
        store = board(tmp_path / f"board {number}")
        old = put(store, "well 1", tmp_path)
        new, path = release("well 2", tmp_path)

        work = functools.partial(update, store, old, new, path)
        cut = cut_at(number, work)
        current, state = store.current(), store.state()
        assert current in {old.name, new.name}
        require_bytes(store, store.release(str(current)))
        assert old.name in state.good
        if current == new.name:
            assert state.trial is not None or new.name in state.good
        seen.add((current, state.trial is not None))
        store.clean()  # the next deployment removes what was left
        work()
        assert store.current() == new.name and store.state().good == (new.name, old.name)
        assert not list(store.releases.glob(".*"))
        if not cut:
            break
    assert number > 15
    assert seen >= {(old.name, False), (old.name, True), (new.name, True), (new.name, False)}


def test_bytes_that_changed_are_refused(tmp_path: Path) -> None:
    store = board(tmp_path / "board")
    made = put(store, "well", tmp_path)
    store.file(made).write_text("hell")
    with pytest.raises(DeployError) as found:
        require_bytes(store, made)
    assert found.value.reason == Reason.HASH
    other, path = release("well 2", tmp_path)
    path.write_text("well 3")
    with pytest.raises(DeployError) as found:
        store.add(other, path, None)
    assert found.value.reason == Reason.HASH and other.name not in store.present()


def test_a_description_that_changed_is_refused(tmp_path: Path) -> None:
    store = board(tmp_path / "board")
    made = put(store, "well", tmp_path)
    place = store.releases / made.name / "release.json"
    place.write_text(place.read_text().replace('"watch": 0.3', '"watch": 9000'))
    with pytest.raises(DeployError, match="was changed"):
        store.release(made.name)
    for text in ("", "[]", '{"schema": 2}', '{"schema": 1, "file": "../x"}'):
        place.write_text(text)
        with pytest.raises(DeployError, match="deploy it again"):
            store.release(made.name)


def test_three_releases_stay_and_environments_that_they_need(tmp_path: Path) -> None:
    store = board(tmp_path / "board")
    made = [put(store, f"well {number}", tmp_path) for number in range(5)]
    unused = store.environments / "fedcba9876543210"
    unused.mkdir()
    store.prune()
    assert store.present() == {one.name for one in made[2:]}
    assert not unused.exists() and len(list(store.environments.iterdir())) == 1


def test_a_board_without_space_refuses_before_it_writes(tmp_path: Path) -> None:
    store = board(tmp_path / "board")
    with pytest.raises(DeployError, match="MB are free") as found:
        require_space(store, 1 << 60)
    assert found.value.reason == Reason.SPACE


def test_a_damaged_state_is_an_empty_one(tmp_path: Path) -> None:
    store = board(tmp_path / "board")
    put(store, "well", tmp_path)
    (store.folder / "state.json").write_bytes(b"\0" * 100)
    assert store.state() == State() and store.current() is not None


def test_decisions_are_kept_in_a_log_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmedge.deploy.store._MOST_LOG", 2000)
    store = board(tmp_path / "board")
    for number in range(60):
        store.note(ending(str(number), Result.BACK, Reason.SLOW, "d" * 20))
    lines = (store.folder / "log.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["release"] == "59"
    assert (store.folder / "log.jsonl").stat().st_size < 2200


def test_a_lock_counts_while_its_process_lives_and_until_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_END", 1.0)
    store = board(tmp_path / "board")
    place = store.folder / lock.LOCK
    hanging = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    record = {
        "pid": hanging.pid,
        "started": process_start(hanging.pid),
        "boot": boot_id(),
        "deadline": boot_seconds() + 100,
    }
    place.write_text(json.dumps(record))
    with pytest.raises(DeployError, match=f"process {hanging.pid}"), held_alone(store, 5):
        pass
    for other in ({"boot": "another"}, {"started": 1}, {"pid": "?"}):
        place.write_text(json.dumps({**record, **other}))
        with held_alone(store, 5):
            assert json.loads(place.read_text())["pid"] == os.getpid()
        assert not place.exists() and hanging.poll() is None
    place.write_text(json.dumps({**record, "deadline": boot_seconds() - 1}))
    begun = time.monotonic()
    with held_alone(store, 5):
        assert hanging.wait(5) != 0, "a deployment that hangs does not keep the next one away"
    assert time.monotonic() - begun < 5
