"""A taught file, a camera under the test's control, and the loop over it in a thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lmedge.camera import Absence, Choice, Frame, FrameResult, FrameSource, run_camera
from lmedge.camera.burst import BurstTaker
from lmedge.camera.taught_place import PlainPlace
from lmedge.camera.teacher import LessonPhase, Teacher
from lmedge.teach.base import Base
from lmedge.teach.photographs import read_photographs
from lmedge.teach.teaching import Lesson, teach_file, write_taught
from tests.lmedge.teach import small

PATIENCE = 120.0  # seconds, on a busy machine


def write_taught_file(folder: Path) -> Path:
    """Write photographs of three landmarks, and a file that was taught them."""
    base = Base.open(small.write_base(folder / "base.tflite"))
    read = read_photographs(
        small.write_photographs(folder / "photographs", small.HIERARCHY), base.backbone
    )
    taught = teach_file(base, read, Lesson(), folder / "taught.tflite")
    write_taught(taught, Lesson())
    return folder / "taught.tflite"


def plain_teacher(choice: Choice, file: Path, photographs: Path, **given: Any) -> Teacher:
    """Return the teacher of a file, with short bursts of the camera "scene"."""
    place = PlainPlace(file)
    given = {"camera": "scene", "photographs": photographs, "taker": short_burst, **given}
    return Teacher(choice, place, **given)


def scene(landmark: str, number: int) -> np.ndarray:
    """Return a frame of a landmark, (H, W, 3) uint8 BGR."""
    image = small.draw(landmark, number)[..., ::-1]
    return cv2.resize(np.ascontiguousarray(image), (128, 128), interpolation=cv2.INTER_NEAREST)


class Scene(FrameSource):
    """A camera before whatever a test puts there; None is a camera that is away."""

    live = True

    def __init__(self, landmark: str | None = "tower") -> None:
        super().__init__("scene")
        self.landmark, self.first = landmark, 1000

    def __iter__(self) -> Iterator[Frame | Absence]:
        index = 0
        while not self.stopped:
            time.sleep(0.005)
            if self.landmark is None:
                yield Absence(message="away")
                continue
            image = scene(self.landmark, self.first + index)
            yield Frame(image=image, index=index, seconds=index / 20)
            index += 1


class Seen:
    """A sink with the last result."""

    def __init__(self) -> None:
        self.last: FrameResult | None = None
        self.count = 0

    def take(self, result: FrameResult) -> bool:
        self.last = result
        self.count += 1
        return True

    def absent(self, absence: Absence) -> bool:
        return True

    def close(self) -> None:
        pass


@contextlib.contextmanager
def running(choice: Choice, source: FrameSource, teacher: Teacher) -> Iterator[Seen]:
    """Run the loop in a thread."""
    seen = Seen()
    loop = threading.Thread(target=run_camera, args=(choice, source, [seen, teacher]))
    loop.start()
    try:
        yield seen
    finally:
        source.stop()
        loop.join(PATIENCE)
    assert not loop.is_alive()


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def short_burst() -> BurstTaker:
    """Return a burst of four photographs, 0.05 s apart."""
    return BurstTaker(frames=4, gap=0.05, longest=0.4)


def take_burst(teacher: Teacher) -> None:
    """Take a burst, to its end."""
    teacher.begin()
    until(lambda: teacher.state.phase is not LessonPhase.TAKING)


def give_lesson(teacher: Teacher, landmark: str, category: str = "") -> str:
    """Take a burst, name it, wait for the end of the lesson, and return its line."""
    take_burst(teacher)
    assert teacher.state.phase is LessonPhase.ASKING, teacher.state
    teacher.teach(landmark, category)
    until(lambda: teacher.state.phase is not LessonPhase.TEACHING)
    return teacher.state.message
