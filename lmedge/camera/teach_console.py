"""The lessons of `--teach` by lines of a terminal, where there is neither a window nor a page."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable

from ..errors import DataError
from .teacher import LessonPhase, Teacher

HELP = "type LANDMARK, or LANDMARK / CATEGORY of a new one, to teach what is in view; undo"
UNDO = "undo"
_LOOK = 0.1  # seconds between two looks at the step of a lesson
_log = logging.getLogger(__name__)


def start_console(teacher: Teacher, lines: Iterable[str]) -> threading.Thread:
    """Take lessons from lines, in a thread that ends with them.

    The teacher itself logs what comes of each lesson.
    """
    thread = threading.Thread(
        target=_follow, args=(teacher, lines), name="teach console", daemon=True
    )
    thread.start()
    return thread


def _follow(teacher: Teacher, lines: Iterable[str]) -> None:
    _log.info("--teach: %s", HELP)
    for line in lines:
        text = line.strip()
        if not text:
            continue
        try:
            _act(teacher, text)
        except DataError as error:
            teacher.cancel()
            _log.warning("--teach: %s", error)


def _act(teacher: Teacher, text: str) -> None:
    if text == UNDO:
        teacher.undo()
    else:
        landmark, _, category = text.partition("/")
        teacher.check(landmark, category)  # before a burst is taken in vain
        teacher.begin()
        _log.info("--teach: %s", teacher.state.message)
        _wait(teacher, LessonPhase.TAKING)
        if teacher.state.phase is not LessonPhase.ASKING:
            return  # a burst of nothing, which the teacher has logged
        teacher.teach(landmark, category)
    _wait(teacher, LessonPhase.TEACHING)
    teacher.cancel()  # a burst that was refused: the next line begins anew


def _wait(teacher: Teacher, phase: LessonPhase) -> None:
    while teacher.state.phase is phase:
        time.sleep(_LOOK)
