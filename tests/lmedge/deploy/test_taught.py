"""A board that is taught: releases of its own, taken back, and none without a signature."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmedge.camera import Choice
from lmedge.camera.service import SupervisedState
from lmedge.camera.taught_place import PlainPlace
from lmedge.camera.teach_options import _place
from lmedge.camera.teacher import LessonPhase, Teacher
from lmedge.deploy.plan import plan_of
from lmedge.deploy.release import Release
from lmedge.deploy.signing import SecretKey
from lmedge.deploy.state import Reason, Result, State
from lmedge.deploy.store import TRUSTED, Store
from lmedge.deploy.taught import BoardPlace, board_place
from lmedge.errors import DeployError
from lmedge.model_file import read_model
from lmedge.teach.burst_lesson import BurstPhotographs, teach_burst
from tests.lmedge.camera import teaching
from tests.lmedge.camera.teaching import Scene, give_lesson, running, until
from tests.lmedge.deploy.boards import ENVIRONMENT, board, cut_at


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teaching.write_taught_file(tmp_path_factory.mktemp("taught"))


@pytest.fixture(scope="module")
def later(made: Path) -> bytes:
    """The same file after a lesson."""
    images = [teaching.cv2.imencode(".png", teaching.scene("white gate", n))[1] for n in range(4)]
    burst = BurstPhotographs(
        landmark="white gate", category="gates", images=[one.tobytes() for one in images]
    )
    return teach_burst(read_model(made), burst).data


def release_of(file: Path, watch: float) -> Release:
    return Release(
        file="museum.tflite",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        environment=ENVIRONMENT,
        watch=watch,
    )


@pytest.fixture
def store(tmp_path: Path, made: Path) -> Store:
    """A board whose good release is a taught file."""
    found = board(tmp_path / "board")
    release = release_of(made, 0.3)
    found.add(release, made, None)
    found.switch(release.name)
    found.change(lambda _: State(good=(release.name,)))
    return found


def current(store: Store) -> Path:
    """Return the path of the file in use."""
    return store.file(store.release(str(store.current())))


def placed(store: Store) -> BoardPlace:
    found = board_place(current(store))
    assert found is not None
    return found


@pytest.fixture
def choice(store: Store) -> Choice:
    return Choice([current(store)])


@pytest.fixture
def teacher(store: Store, choice: Choice) -> Iterator[Teacher]:
    found = Teacher(
        choice, placed(store), camera="", taker=teaching.short_burst, teaching=teach_burst
    )
    yield found
    found.close()


def test_a_lesson_is_a_release_on_trial(
    store: Store, choice: Choice, teacher: Teacher, tmp_path: Path
) -> None:
    old = str(store.current())
    status = SupervisedState(tmp_path / "status.json", choice)
    with running(choice, Scene("white gate"), teacher) as seen:
        seen.take = lambda result, take=seen.take: status.take(result) and take(result)  # type: ignore[method-assign]
        assert give_lesson(teacher, "white gate", "gates").startswith("taught white gate")
        name = str(store.current())
        state = store.state()
        assert state.trial is not None
        assert (state.trial.release, state.trial.before, state.good) == (name, old, (old,))
        assert choice.current.model.path == current(store)
        assert json.loads((tmp_path / "status.json").read_text())["file"] == str(current(store))
        taught = store.folder / "taught" / "museum.tflite"
        assert taught.read_bytes() == current(store).read_bytes() == choice.current.model.data
        store.change(lambda state: state.proved("well", 0))
        teacher.undo()
        until(lambda: teacher.state.phase is LessonPhase.READY)
        assert store.current() == old
        state = store.state()
        assert (state.good, state.trial) == ((old,), None)
        assert state.last is not None
        assert (state.last.result, state.last.reason) == (Result.BACK, Reason.HAND)
        assert choice.current.model.path == current(store)


def test_a_lesson_on_a_lesson_that_is_not_proved(
    store: Store, choice: Choice, teacher: Teacher
) -> None:
    """Undo goes back to the lesson before, on trial again, and never proves it by itself."""
    source, old = Scene("white gate"), store.current()
    with running(choice, source, teacher):
        give_lesson(teacher, "white gate", "gates")
        first = str(store.current())
        source.first = 5000
        give_lesson(teacher, "white gate")
        second = str(store.current())
        assert len({old, first, second}) == 3
        teacher.undo()
        until(lambda: teacher.state.phase is LessonPhase.READY)
        state = store.state()
        assert store.current() == first
        assert state.trial is not None
        assert (state.trial.release, state.good) == (first, (old,))


def test_a_board_with_a_key_serves_no_taught_file(store: Store, made: Path, choice: Choice) -> None:
    """The lesson waits in taught/, the next one adds to it, and the signed one goes on."""
    key = SecretKey.make()
    path, old = current(store), store.current()
    signature = key.sign(path.read_bytes(), "museum")
    path.with_name(f"{path.name}.minisig").write_text(signature)
    store.write(TRUSTED, key.public.text())
    teacher = Teacher(
        choice, placed(store), camera="", taker=teaching.short_burst, teaching=teach_burst
    )
    source = Scene("white gate")
    with running(choice, source, teacher):
        assert "pull this one, sign it and deploy it" in give_lesson(teacher, "white gate", "gates")
        assert "white gate" in teacher.labels
        assert (store.current(), store.present()) == (old, {old})
        assert choice.current.model.data == made.read_bytes() == current(store).read_bytes()
        source.first = 5000
        give_lesson(teacher, "white gate")
    waiting = read_model(store.folder / "taught" / "museum.tflite")
    assert waiting.info["taught"]["photographs"]["white gate"] == 8
    again = placed(store)  # after a new start
    assert again.latest(read_model(current(store))).data == waiting.data
    later_on = Teacher(choice, again, camera="", teaching=teach_burst)
    with running(choice, Scene("tower"), later_on):
        until(lambda: later_on.state.can_undo)
        later_on.undo()
        until(lambda: later_on.state.phase is LessonPhase.READY)
    waiting = read_model(store.folder / "taught" / "museum.tflite")
    assert waiting.info["taught"]["photographs"]["white gate"] == 4
    assert store.present() == {old}


def test_a_key_that_was_learned_meanwhile(store: Store, made: Path, later: bytes) -> None:
    place, old = placed(store), store.current()
    store.write(TRUSTED, SecretKey.make().public.text())
    with pytest.raises(DeployError, match="is not signed"):
        place.replace(read_model(made), later, {})
    assert (store.current(), store.present(), store.state().trial) == (old, {old}, None)
    assert (store.folder / "taught" / "museum.tflite").read_bytes() == made.read_bytes()


def test_a_taught_file_of_another_release_is_kept(store: Store, made: Path, later: bytes) -> None:
    """A deployment came between, and nobody has pulled."""
    place = placed(store)
    place.replace(read_model(made), later, {"running": "another"})
    taught = store.folder / "taught"
    first = release_of(made, 0.5)
    store.add(first, made, None)
    store.switch(first.name)
    placed(store).replace(read_model(made), later, {})
    names = sorted(path.name for path in taught.glob("*.tflite"))
    assert names == sorted(
        [f"museum-{hashlib.sha256(later).hexdigest()[:8]}.tflite", "museum.tflite"]
    )


@pytest.mark.parametrize("undo", [False, True])
def test_a_power_cut_at_every_step(
    store: Store, made: Path, later: bytes, tmp_path: Path, undo: bool
) -> None:
    """The board then runs the old file or the new one, whole, and can say which."""
    whole = tmp_path / "whole"
    if undo:
        placed(store).replace(read_model(made), later, {})
        store.change(lambda state: state.proved("well", 0))
    shutil.copytree(store.folder, whole, symlinks=True)
    number, cut = 0, True
    while cut:
        shutil.rmtree(store.folder)
        shutil.copytree(whole, store.folder, symlinks=True)

        def work() -> None:
            place, now = placed(store), read_model(current(store))
            if undo:
                place.go_back(now)
            else:
                place.replace(now, later, {})

        cut = cut_at(number, work)
        assert current(store).read_bytes() in (made.read_bytes(), later)
        state = store.state()
        named = {*state.good, *([state.trial.release] if state.trial else [])}
        assert named <= store.present()
        assert store.current() in {*named, *store.present()}
        taught = store.folder / "taught" / "museum.tflite"
        assert not taught.exists() or taught.read_bytes() in (made.read_bytes(), later)
        number += 1
    assert number > 10
    assert current(store).read_bytes() == (made.read_bytes() if undo else later)


def test_any_other_file_has_its_history_beside_it(made: Path) -> None:
    assert board_place(made) is None
    assert isinstance(_place(made), PlainPlace)


def test_teach_in_a_fleet_needs_a_page() -> None:
    with pytest.raises(DeployError, match="teach needs preview"):
        plan_of("kiosk", {"host": "a", "teach": True})
    plan = plan_of("kiosk", {"host": "a", "teach": True, "preview": "8000"})
    assert plan.arguments == ("--preview", "8000", "--teach")
