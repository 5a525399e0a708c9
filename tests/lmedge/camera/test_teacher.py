"""`--teach`: a burst, a name, and another file in the loop and on disk; or the old one, whole."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from lmedge.camera import Choice
from lmedge.camera.burst import BurstTaker
from lmedge.camera.taught_place import PlainPlace
from lmedge.camera.teacher import LessonPhase, Teacher
from lmedge.errors import DataError, LmedgeError, ModelFileError
from lmedge.field.destination import checked_names
from lmedge.field.origin import bursts_of
from lmedge.model_file import ModelFile, read_model
from lmedge.teach import history
from lmedge.teach.base import Base
from lmedge.teach.burst_lesson import (
    BurstLesson,
    BurstPhotographs,
    ChildTeacher,
    check_teachable,
    teach_burst,
)
from lmedge.teach.photographs import read_photographs
from lmedge.teach.teaching import Lesson, teach_file
from tests.lmedge.camera import teaching
from tests.lmedge.camera.teaching import Scene, give_lesson, running, scene, take_burst, until

AUTOGROUP = Path("/proc/self/autogroup")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def teacher(choice: Choice, file: Path, kept: Path) -> Iterator[Teacher]:
    """A teacher without a child process, which keeps photographs."""
    found = teaching.plain_teacher(choice, file, kept, teaching=teach_burst)
    yield found
    found.close()


class TestTheLoop:
    def test_a_landmark_is_taught_and_taken_back(
        self, made: Path, file: Path, choice: Choice, kept: Path
    ) -> None:
        """By the child process: the labels of the next frames are right, and nothing is left."""
        teacher = teaching.plain_teacher(choice, file, kept)
        source = Scene("white gate")
        with running(choice, source, teacher) as seen:
            assert give_lesson(teacher, " white gate ", "gates").startswith("taught white gate (4")
            until(lambda: seen.last and seen.last.prediction.landmark == "white gate")
            assert seen.last is not None
            assert (seen.last.prediction.category, seen.last.known) == ("gates", True)
            data = file.read_bytes()
            assert choice.current.model.data == data != made.read_bytes()
            photographs = list(kept.rglob("*.jpg"))
            assert {path.parent for path in photographs} == {kept / "gates" / "white gate"}
            assert len(set(bursts_of(kept).values())) == 1
            self._same_as_all_at_once(made, kept, data)
            assert teacher.state.can_undo
            teacher.undo()
            until(lambda: teacher.state.phase is LessonPhase.READY)
            assert teacher.state.message == "taken back: white gate"
            assert "white gate" not in choice.current.taxonomy.landmarks
        assert file.read_bytes() == made.read_bytes()
        assert sorted(path.name for path in file.parent.iterdir()) == ["kept", "taught.tflite"]
        assert list(kept.rglob("*")) == [kept / "origin.csv"]

    @staticmethod
    def _same_as_all_at_once(made: Path, kept: Path, data: bytes) -> None:
        """`lmedge teach` of the photographs that were kept gives the same file."""
        base = Base.open(made)
        more = kept.with_name("with others")
        shutil.copytree(kept, more)
        read = read_photographs(more, base.backbone)
        shutil.rmtree(more)
        assert teach_file(base, read, Lesson(add=True), made).file.data == data

    def test_a_known_name_gets_more_photographs(
        self, file: Path, choice: Choice, teacher: Teacher
    ) -> None:
        with running(choice, Scene("tower"), teacher):
            assert give_lesson(teacher, "tower").startswith("taught tower (10 photographs")
            assert len(read_model(file).info["taught"]["bursts"]["tower"][0]) == 4
        assert choice.current.taxonomy.landmarks == ("old bridge", "stone bridge", "tower")

    def test_the_last_three_are_kept(self, file: Path, choice: Choice, teacher: Teacher) -> None:
        source, files = Scene("tower"), []
        with running(choice, source, teacher):
            for number in range(4):
                files.append(file.read_bytes())
                source.first = 1000 * (number + 2)
                give_lesson(teacher, "tower")
            assert len(list(file.with_name("taught.before").glob("*.tflite"))) == history.KEPT
            for data in files[:0:-1]:
                teacher.undo()
                until(lambda: teacher.state.phase is LessonPhase.READY)
                assert file.read_bytes() == choice.current.model.data == data
            assert not teacher.state.can_undo
            with pytest.raises(DataError, match="no lesson to take back"):
                teacher.undo()

    def test_the_gate_refuses(self, made: Path, file: Path, choice: Choice, kept: Path) -> None:
        """One place under two names. The burst stays, so that it can be named otherwise."""
        teacher = Teacher(choice, PlainPlace(file), camera="scene", teaching=teach_burst)
        source = Scene("tower")
        source.first = 0  # the photographs that the file knows
        with running(choice, source, teacher):
            line = give_lesson(teacher, "another tower", "towers")
            assert line.startswith("not taught: ")
            assert "'tower'" in line
            assert (teacher.state.phase, teacher.state.failed) == (LessonPhase.ASKING, True)
            assert file.read_bytes() == choice.current.model.data == made.read_bytes()
            teacher.cancel()
            assert teacher.state.phase is LessonPhase.READY
        teacher.close()

    @pytest.mark.parametrize("place", ["write_json", "write_bytes"])
    def test_a_full_disk(
        self,
        made: Path,
        file: Path,
        choice: Choice,
        teacher: Teacher,
        kept: Path,
        monkeypatch: pytest.MonkeyPatch,
        place: str,
    ) -> None:
        def full(path: Path, _: object) -> None:
            raise LmedgeError(f"cannot write {path}: No space left on device; free space")

        monkeypatch.setattr(history, place, full)
        with running(choice, Scene("white gate"), teacher) as seen:
            assert "No space left" in give_lesson(teacher, "white gate", "gates")
            count = seen.count
            until(lambda: seen.count > count + 3)
            assert choice.current.model.data == file.read_bytes() == made.read_bytes()
        assert not list(kept.rglob("*.jpg"))
        assert not file.with_name("taught.before").exists()

    def test_a_camera_that_goes_away_in_a_burst(self, choice: Choice, teacher: Teacher) -> None:
        source = Scene("white gate")
        with running(choice, source, teacher) as seen:
            until(lambda: seen.count)
            teacher.begin()
            source.landmark = None
            until(lambda: teacher.state.phase is not LessonPhase.TAKING)
            state = teacher.state
            assert (state.phase, state.failed) == (LessonPhase.READY, True)
            assert "went away during the burst" in state.message
            with pytest.raises(DataError, match="there is no burst to name"):
                teacher.teach("white gate", "gates")

    def test_a_file_that_another_program_has_changed(
        self, file: Path, choice: Choice, teacher: Teacher
    ) -> None:
        with running(choice, Scene("white gate"), teacher):
            file.write_bytes(file.read_bytes() + b"another")
            assert "another program has changed it" in give_lesson(teacher, "white gate", "gates")
            assert file.read_bytes().endswith(b"another")

    @pytest.mark.skipif(not AUTOGROUP.exists(), reason="no groups of the scheduler")
    def test_a_lesson_has_a_low_priority_among_all_sessions(self) -> None:
        """The kernel shares the processor between sessions before it looks at priorities."""
        code = "import os; from lmedge.teach.burst_lesson import step_aside\n"
        code += f"before = os.nice(0); step_aside(); group = open('{AUTOGROUP}').read()\n"
        code += "print(os.nice(0) - before, group)"
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            start_new_session=True,
            check=False,
        )
        own, _, *group = done.stdout.split()
        assert (own, group) == ("10", ["nice", "10"])

    def test_a_child_that_ends(self, made: Path, file: Path, choice: Choice) -> None:
        """At the end of the camera, or because memory lacks: the file of before stays."""
        child = ChildTeacher()

        def ended(model: ModelFile, burst: BurstPhotographs) -> BurstLesson:
            child.stop()
            return child(model, burst)

        teacher = Teacher(
            choice, PlainPlace(file), camera="", taker=teaching.short_burst, teaching=ended
        )
        with running(choice, Scene("white gate"), teacher):
            line = give_lesson(teacher, "white gate", "gates")
            assert "the lesson failed with code -9 (the system ended it" in line
        assert file.read_bytes() == made.read_bytes()

    def test_errors_of_the_child_are_those_of_the_lesson(self, made: Path) -> None:
        burst = BurstPhotographs(landmark="tower", category="gates", images=[b"no image"])
        with pytest.raises(DataError, match="photograph 1 of the burst"):
            ChildTeacher()(read_model(made), burst)

    def test_one_lesson_at_a_time(self, choice: Choice, teacher: Teacher) -> None:
        with running(choice, Scene("tower"), teacher):
            take_burst(teacher)
            teacher.begin()  # another one in its place
            with pytest.raises(DataError, match="a lesson is under way"):
                teacher.begin()


def test_a_file_without_features(tiny_file: Path) -> None:
    with pytest.raises(ModelFileError, match="lmedge teach PHOTOGRAPHS --base .*tiny.*-o NEW"):
        check_teachable(read_model(tiny_file))


class TestABurst:
    def test_photographs_that_differ(self) -> None:
        burst = BurstTaker(frames=3, gap=0.2, longest=2.0)
        times = [number / 10 for number in range(20)]
        used = []
        for time in times:
            if burst.is_over(time):
                break
            if burst.wants(time):
                burst.add(scene("tower", int(10 * time)))
                used.append(time)
        assert used == pytest.approx([0.0, 0.2, 0.4])
        assert len(burst.photographs()) == 3
        assert burst.hint == ""

    def test_black_frames(self) -> None:
        burst = BurstTaker()
        for value in (0, 3, 255):
            burst.add(np.full((60, 80, 3), value, np.uint8))
        with pytest.raises(DataError, match="3 frames of the burst are dark or empty"):
            burst.photographs()

    def test_a_frozen_camera(self) -> None:
        burst = BurstTaker()
        for _ in range(5):
            burst.add(scene("tower", 1))
        with pytest.raises(DataError, match="one and the same; move the camera"):
            burst.photographs()

    def test_a_camera_that_stands(self) -> None:
        """Noise alone: two photographs are taken, and a line asks for another side."""
        burst, noise = BurstTaker(), np.random.default_rng(0)
        for _ in range(5):
            image = scene("tower", 1) + noise.normal(0, 2, (128, 128, 3))
            burst.add(np.clip(image, 0, 255).astype(np.uint8))
        assert len(burst.photographs()) == 2
        assert "another side" in burst.hint
        assert burst.is_over(100.0) is False
        burst.wants(0.0)
        assert burst.is_over(6.0) is True


class TestNames:
    KNOWN: ClassVar = {"tower": "towers", "old bridge": "bridges"}

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            (("tower", ""), ("tower", "towers")),
            ((" tower ", "towers"), ("tower", "towers")),
            (("gate", "towers"), ("gate", "towers")),
            (("Große Brücke", "ponts"), ("Große Brücke", "ponts")),
        ],
    )
    def test_good_ones(self, given: tuple[str, str], wanted: tuple[str, str]) -> None:
        assert checked_names(*given, self.KNOWN) == wanted

    @pytest.mark.parametrize(
        ("landmark", "category", "problem"),
        [
            ("", "towers", "it is empty"),
            ("gate", "", "name its category too"),
            ("tower", "bridges", "in the category 'towers'"),
            ("ga\x1b[2Jte", "gates", "a control character"),
            ("gate", "ga\nte", "a control character"),
            ("gate\u202e", "gates", "cannot be names of folders"),
            ("../gate", "gates", "cannot be names of folders"),
            ("gate", "unknown", "has another meaning"),
            ("Tower", "towers", "there is a landmark 'tower' already"),
            ("gate", "Towers", "there is a category 'towers' already"),
            ("g" * 300, "gates", "too long"),
        ],
    )
    def test_bad_ones(self, landmark: str, category: str, problem: str) -> None:
        with pytest.raises(DataError, match=problem):
            checked_names(landmark, category, self.KNOWN)
