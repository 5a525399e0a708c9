"""`--teach`: a burst of the landmark in view, its name, and another file a moment later.

The loop leaves frames here and goes on. A thread encodes them; a child process teaches. The file
that comes back takes over between two frames, and then that on disk is replaced. Whatever fails,
the file in use goes on, and a line says why.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import logging
import queue
import threading
from collections.abc import Callable
from pathlib import Path

from ..errors import DataError, LmedgeError
from ..field.destination import checked_names
from ..files import disk_problem
from .burst import BurstTaker
from .choice import Choice
from .frames import Absence, BgrImage
from .lessons import Lessons, TeachBurst
from .sinks import FrameResult
from .taught_place import TaughtPlace

_WAITING = 2  # frames that wait for the thread
_log = logging.getLogger(__name__)


class LessonPhase(enum.StrEnum):
    """The step of a lesson."""

    READY = "ready"
    TAKING = "taking"
    ASKING = "asking"
    TEACHING = "teaching"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherState:
    """The step of a lesson, for the window and the page.

    Attributes:
        phase: The step.
        taken: Photographs of the burst so far.
        wanted: Photographs that it is to have.
        message: The last line for people.
        failed: True if that is about something that did not succeed.
        can_undo: True if the last lesson can be taken back.
    """

    phase: LessonPhase = LessonPhase.READY
    taken: int = 0
    wanted: int = 0
    message: str = ""
    failed: bool = False
    can_undo: bool = False


class Teacher:
    """The lessons of a camera. All methods may be called by several threads.

    `begin` takes a burst, `teach` names it, `cancel` leaves it, `undo` takes the last lesson back.
    """

    goes_on = True

    def __init__(
        self,
        choice: Choice,
        place: TaughtPlace,
        *,
        camera: str,
        photographs: Path | None = None,
        taker: Callable[[], BurstTaker] = BurstTaker,
        teaching: TeachBurst | None = None,
    ) -> None:
        """Start the thread.

        Args:
            choice: The file in use, which lessons change.
            place: The place of the file on disk.
            camera: Name of the source, without secrets.
            photographs: Folder in which photographs are kept; None keeps none.
            taker: Makes an empty burst.
            teaching: Teaches a burst; a child process unless given.

        Raises:
            ModelFileError: Nothing can be added to the file.
        """
        self._lessons = Lessons(choice, place, camera, teaching)
        self.photographs = photographs
        self._taker = taker
        self._lock = threading.Lock()
        self._burst: BurstTaker | None = None
        self._images: tuple[bytes, ...] = ()
        self._state = TeacherState()
        self._frames: queue.Queue[tuple[BurstTaker, BgrImage, float]] = queue.Queue(_WAITING)
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="teach", daemon=True)
        self._thread.start()
        self._work.put(self._look_back)

    @property
    def state(self) -> TeacherState:
        """The step of the lesson."""
        with self._lock:
            taken = self._burst.taken if self._burst is not None else len(self._images)
            return dataclasses.replace(self._state, taken=taken)

    @property
    def labels(self) -> dict[str, str]:
        """Landmark -> category, of the file that the next lesson adds to."""
        return self._lessons.labels

    def check(self, landmark: str, category: str = "") -> tuple[str, str]:
        """Return both names as they are taught. Raises DataError if one cannot be used."""
        return checked_names(landmark, category, self.labels)

    def begin(self) -> None:
        """Take a burst from the next frame on. Raises DataError during another lesson."""
        with self._lock:
            if self._state.phase not in {LessonPhase.READY, LessonPhase.ASKING}:
                raise DataError("a lesson is under way; wait for its end")
            self._burst, self._images = self._taker(), ()
            self._state = dataclasses.replace(
                self._state,
                phase=LessonPhase.TAKING,
                wanted=self._burst.frames,
                message="move around the landmark while the photographs are taken",
                failed=False,
            )

    def cancel(self) -> None:
        """Leave a burst; a lesson that has begun goes on."""
        with self._lock:
            if self._state.phase in {LessonPhase.TAKING, LessonPhase.ASKING}:
                self._forget("the burst was left", failed=False)

    def teach(self, landmark: str, category: str = "", *, keep: bool = True) -> None:
        """Name the burst, and teach it.

        Args:
            landmark: A landmark of the file, or a new one.
            category: Its category; of a known landmark it may be left out.
            keep: False keeps no photographs, also if there is a folder for them.

        Raises:
            DataError: There is no burst, or a name cannot be used.
        """
        names = self.check(landmark, category)
        with self._lock:
            if self._state.phase is not LessonPhase.ASKING:
                raise DataError("there is no burst to name; take one first")
            self._state = dataclasses.replace(
                self._state,
                phase=LessonPhase.TEACHING,
                message=f"teaching {names[0]}",
                failed=False,
            )
            images = self._images
        kept = self.photographs if keep else None
        self._work.put(lambda: self._done(self._lessons.teach(*names, images, kept)))

    def undo(self) -> None:
        """Take the last lesson back. Raises DataError if there is none."""
        with self._lock:
            if self._state.phase is not LessonPhase.READY or not self._state.can_undo:
                raise DataError("there is no lesson to take back now")
            self._state = dataclasses.replace(
                self._state, phase=LessonPhase.TEACHING, message="taking the last lesson back"
            )
        self._work.put(lambda: self._done(self._lessons.step_back(self.photographs)))

    def take(self, result: FrameResult) -> bool:
        """Leave a frame for the thread if a burst wants it."""
        self._lessons.see_file()
        with self._lock:
            burst = self._burst
            if burst is None:
                return True
            seconds = result.frame.seconds
            wanted = burst.wants(seconds)
            if wanted or burst.is_over(seconds):
                with contextlib.suppress(queue.Full):
                    self._frames.put_nowait((burst, result.frame.image, seconds))
                    self._work.put(self._add_frame)
        return True

    def absent(self, absence: Absence) -> bool:
        """Leave a burst that the camera has left."""
        self._lessons.see_file()
        with self._lock:
            if self._state.phase is LessonPhase.TAKING:
                self._forget("the camera went away during the burst; take it again")
        return True

    def close(self) -> None:
        """End the lesson; the file of before goes on at the next start."""
        self._lessons.close()
        self._work.put(None)
        self._thread.join(30.0)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except (LmedgeError, OSError) as error:
                why = disk_problem(error) if isinstance(error, OSError) else None
                self._fail(why or str(error))
            except Exception as error:  # the camera goes on, whatever a lesson runs into
                _log.exception("a lesson failed")
                self._fail(f"the lesson failed: {type(error).__name__}")

    def _fail(self, why: str) -> None:
        """Report a failure; the burst stays if it can be named otherwise."""
        if self._lessons.closing:
            return
        _log.warning("--teach: %s; the file in use goes on", why)
        with self._lock:
            phase = LessonPhase.ASKING if self._images else LessonPhase.READY
            self._state = dataclasses.replace(self._state, phase=phase, message=why, failed=True)

    def _forget(self, message: str, *, failed: bool = True) -> None:
        """Leave the burst; the caller holds the lock."""
        self._burst, self._images = None, ()
        self._state = dataclasses.replace(
            self._state, phase=LessonPhase.READY, wanted=0, message=message, failed=failed
        )

    def _add_frame(self) -> None:
        burst, image, seconds = self._frames.get_nowait()
        if burst is not self._burst:
            return
        burst.add(image)
        if not burst.is_over(seconds):
            return
        with self._lock:
            if burst is not self._burst:
                return
            try:
                self._images = burst.photographs()
            except DataError as error:
                self._forget(str(error))
                _log.warning("--teach: %s", error)
                return
            self._burst = None
            message = burst.hint or f"{len(self._images)} photographs are taken"
            self._state = dataclasses.replace(
                self._state, phase=LessonPhase.ASKING, message=message
            )

    def _done(self, message: str) -> None:
        _log.info("--teach: %s", message)
        can_undo = self._lessons.can_undo()
        with self._lock:
            self._burst, self._images = None, ()
            self._state = TeacherState(message=message, can_undo=can_undo)

    def _look_back(self) -> None:
        """Find out if there is a lesson to take back."""
        found = self._lessons.can_undo()
        with self._lock:
            self._state = dataclasses.replace(self._state, can_undo=found)
