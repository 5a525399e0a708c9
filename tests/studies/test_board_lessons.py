"""The program that teaches the emulated board, against the preview page of lmedge itself."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.studies import board_lessons
from lmedge.camera.preview import Preview
from lmedge.camera.teacher import LessonPhase, TeacherState

TOKEN = "a-token-for-a-test"


class Lesson:
    """A teacher whose burst ends after two looks, and whose lesson ends after two more."""

    goes_on = True
    photographs = Path("lessons")

    def __init__(self) -> None:
        self.labels: dict[str, str] = {"white gate": "gates"}
        self.named: tuple[str, str, bool] | None = None
        self.later: list[TeacherState] = []
        self.now = TeacherState()

    @property
    def state(self) -> TeacherState:
        if self.later:
            self.now = self.later.pop(0)
        return self.now

    def begin(self) -> None:
        taking = TeacherState(phase=LessonPhase.TAKING, wanted=15)
        self.later = [taking, taking, dataclasses.replace(taking, phase=LessonPhase.ASKING)]

    def teach(self, landmark: str, category: str, *, keep: bool) -> None:
        self.named = (landmark, category, keep)
        teaching = TeacherState(phase=LessonPhase.TEACHING, message=f"teaching {landmark}")
        self.later = [teaching, teaching, teaching, TeacherState(message=f"taught {landmark}")]

    def cancel(self) -> None: ...

    def undo(self) -> None: ...


@pytest.fixture
def lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lesson]:
    teacher: Any = Lesson()
    preview = Preview("127.0.0.1", 0, TOKEN, teacher=teacher)
    (tmp_path / "preview-token").write_text(f"{TOKEN}\n")
    monkeypatch.setattr(board_lessons, "PAGE", f"{preview.address}teach")
    monkeypatch.setattr(board_lessons, "TOKEN", tmp_path / "preview-token")
    monkeypatch.setattr(board_lessons, "LOOK", 0.01)
    yield teacher
    preview.close()


def test_a_burst_is_named_and_taught(lesson: Lesson, capsys: pytest.CaptureFixture[str]) -> None:
    board_lessons.main(["begin", "red door", "doors"])
    assert lesson.named == ("red door", "doors", True)
    assert json.loads(capsys.readouterr().out)["phase"] == "teaching"
    board_lessons.main(["end"])
    state = json.loads(capsys.readouterr().out)
    assert (state["phase"], state["message"]) == ("ready", "taught red door")


def test_a_pattern_of_vivid_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device, calls = tmp_path / "video0", []
    device.touch()
    monkeypatch.setattr(fcntl, "ioctl", lambda _, number, data: calls.append((number, data)))
    board_lessons.show(4, device)
    assert [number for number, _ in calls] == 3 * [0xC008561C]
    found = dict(struct.unpack("=Ii", data) for _, data in calls)
    assert found == {0xF0F000: 4, 0xF0F002: 6, 0xF0F003: 6}
