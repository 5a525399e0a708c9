"""The lessons of a running camera: photographs in, another file in the loop and on disk.

The order is the same everywhere. The new file takes over between two frames. Once a frame was
classified by it, that on disk is replaced. If that fails, the file of before takes over again.
"""

from __future__ import annotations

import contextlib
import datetime
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError, LmedgeError
from ..field.kept import keep_burst, remove_kept
from ..model_file import ModelFile, parse_model
from ..teach.burst_lesson import BurstLesson, BurstPhotographs, ChildTeacher, check_teachable
from .burst import burst_name
from .choice import Choice
from .taught_place import TaughtPlace

SWAP = 10.0  # seconds for a frame by the new file; without any, the camera is away
TeachBurst = Callable[[ModelFile, BurstPhotographs], BurstLesson]


class Lessons:
    """Teach, and take the last lesson back; one thread at a time does."""

    def __init__(
        self, choice: Choice, place: TaughtPlace, camera: str, teaching: TeachBurst | None = None
    ) -> None:
        """Take the file in use, its place, the name of the source, and what teaches a burst.

        Raises:
            ModelFileError: Nothing can be added to the file.
        """
        check_teachable(choice.current.model)
        self._choice, self._place, self._camera = choice, place, camera
        self._child = ChildTeacher()
        self._teaching = teaching or self._child
        self._awaited: str | None = None  # SHA-256 of the file that is to take over
        self._taken_over = threading.Event()
        self.closing = False

    @property
    def labels(self) -> dict[str, str]:
        """Landmark -> category, of the file that the next lesson adds to."""
        return self._place.latest(self._choice.current.model).taxonomy.hierarchy()

    def can_undo(self) -> bool:
        """Return True if a lesson can be taken back."""
        now = self._place.latest(self._choice.current.model)
        return self._place.previous(now) is not None

    def see_file(self) -> None:
        """Note the file of the last frame; the loop calls this."""
        if self._awaited is not None and self._choice.current.model.sha256 == self._awaited:
            self._taken_over.set()

    def close(self) -> None:
        """End a lesson that is under way: the file of before stays."""
        self.closing = True
        self._child.stop()
        self._taken_over.set()

    def teach(
        self, landmark: str, category: str, images: tuple[bytes, ...], folder: Path | None
    ) -> str:
        """Teach the photographs of a burst, and keep them in a folder if there is one.

        Returns:
            A line for people.

        Raises:
            LmedgeError: The lesson is refused or fails. The file in use goes on, and nothing has
                changed on disk.
        """
        running = self._choice.current.model
        base = self._place.latest(running)
        burst = BurstPhotographs(landmark=landmark, category=category, images=images)
        lesson = self._teaching(base, burst)
        if lesson.problems:
            raise DataError(f"not taught: {'; '.join(lesson.problems)}")
        kept: list[dict[str, str]] = []
        if folder is not None:
            kept = keep_burst(
                folder,
                landmark,
                category,
                images,
                burst=burst_name(images),
                camera=self._camera,
                model=running.sha256,
            )
        record = {
            "landmark": landmark,
            "category": category,
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "running": running.sha256,
            "photographs": kept,
        }
        try:
            note = self._put(base, lesson.data, record)
        except BaseException:
            if folder is not None:
                with contextlib.suppress(LmedgeError):
                    remove_kept(folder, kept)
            raise
        return _sentence(landmark, lesson, note)

    def step_back(self, folder: Path | None) -> str:
        """Take the last lesson back, with the photographs that it has left in a folder.

        Raises:
            LmedgeError: There is none, or the disk is full. Nothing has changed then.
        """
        running = self._choice.current.model
        now = self._place.latest(running)
        before = self._place.previous(now)
        if before is None:
            raise LmedgeError(f"{now.path}: no file before it is kept; there is nothing to undo")
        if self._place.serves:
            self._take_over(parse_model(before.data, self._place.path_of(before.data)))
        with self._or_again(running):
            self._place.go_back(now)
        kept = before.lesson.get("photographs")
        if folder is not None and isinstance(kept, list):
            remove_kept(folder, [one for one in kept if isinstance(one, dict)])
        return f"taken back: {before.lesson.get('landmark', 'the last lesson')}"

    def _put(self, base: ModelFile, data: bytes, record: Mapping[str, Any]) -> str:
        if not self._place.serves:
            return self._place.replace(base, data, record)
        before = self._choice.current.model
        self._take_over(parse_model(data, self._place.path_of(data)))
        with self._or_again(before):
            return self._place.replace(before, data, record)

    @contextlib.contextmanager
    def _or_again(self, before: ModelFile) -> Iterator[None]:
        """Let the file of before take over again if the block fails."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(LmedgeError):  # at the end, nothing takes over any more
                if self._place.serves:
                    self._take_over(before)
            raise

    def _take_over(self, model: ModelFile) -> None:
        """Load a file here, and wait until a frame was classified by it."""
        self._check_open()
        self._taken_over.clear()
        self._awaited = model.sha256
        self._choice.replace(model)
        self._taken_over.wait(SWAP)
        self._awaited = None
        self._check_open()

    def _check_open(self) -> None:
        if self.closing:
            raise LmedgeError("the camera ends; the file in use stays")


def _sentence(landmark: str, lesson: BurstLesson, note: str) -> str:
    judged = (
        f"{lesson.macro_f1:.2f} of 1 by photographs judged without themselves and their burst"
        if lesson.judged
        else "another burst, from another place or at another time, would show how well it is known"
    )
    photographs = f"{lesson.photographs} photographs, {lesson.seconds:.1f} s"
    return f"taught {landmark} ({photographs}); {judged}{f'. {note}' if note else ''}"
