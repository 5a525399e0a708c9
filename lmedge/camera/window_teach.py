"""The lessons of `--teach` in the window: keys in, lines to draw out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from ..errors import DataError
from .teacher import LessonPhase, Teacher

SHOWN = 5  # names that are listed at a time
NEWS = 10.0  # seconds for which the line about a lesson stays
_ENTER, _TAB, _ESCAPE, _ERASE = frozenset({10, 13}), 9, 27, frozenset({8, 127})
_log = logging.getLogger(__name__)


class TeachKeys:
    """The dialogue: `t` takes a burst, then a name is typed or chosen, `u` takes it back.

    Keys of a window are single bytes, so that new names have letters of ASCII alone. The preview
    page takes any.
    """

    def __init__(self, teacher: Teacher, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the teacher, and a function that returns seconds."""
        self._teacher, self._clock = teacher, clock
        self._said, self._said_at = "", 0.0
        self._text, self._chosen = "", 0  # 0: what was typed, otherwise a name of the list
        self._landmark: str | None = None  # a new one, whose category is asked for
        self._problem = ""

    def press(self, key: int) -> bool:
        """Take a key; return False if it has no meaning here."""
        phase = self._teacher.state.phase
        if phase is LessonPhase.TAKING and key == _ESCAPE:
            self._teacher.cancel()
        elif phase is LessonPhase.ASKING:
            return self._answer(key)
        elif phase is not LessonPhase.TEACHING and key in {ord("t"), ord("u")}:
            self._reset()
            self._try(self._teacher.begin if key == ord("t") else self._teacher.undo)
        else:
            return False
        return True

    def lines(self) -> list[str]:
        """Return what is to be drawn, nothing between two lessons without news."""
        state = self._teacher.state
        if state.phase is LessonPhase.TAKING:
            return [f"{state.taken} of {state.wanted}: {state.message}", "Escape: leave"]
        if state.phase is not LessonPhase.ASKING:
            return [state.message] if self._is_news(state.message) else []
        asked = "Landmark" if self._landmark is None else f"Category of {self._landmark}"
        names = self._names()
        listed = [
            f"{'>' if number == self._chosen else '-'} {name}"
            for number, name in enumerate(names[:SHOWN], 1)
        ]
        more = [f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
        return [
            self._problem or state.message,
            f"{asked}: {self._text}{'' if self._chosen else '_'}",
            *listed,
            *more,
            "Tab: next name, Enter: teach, Escape: leave",
        ]

    def _is_news(self, message: str) -> bool:
        """Return True for some seconds after a message has changed."""
        if message != self._said:
            self._said, self._said_at = message, self._clock()
        return bool(message) and self._clock() - self._said_at < NEWS

    def _answer(self, key: int) -> bool:
        if key == _ESCAPE:
            self._reset()
            self._teacher.cancel()
        elif key == _TAB:
            self._chosen = (self._chosen + 1) % (min(SHOWN, len(self._names())) + 1)
        elif key in _ENTER:
            self._enter()
        elif key in _ERASE:
            self._text, self._chosen = self._text[:-1], 0
        elif 32 <= key < 127:
            self._text, self._chosen = self._text + chr(key), 0
        else:
            return False
        return True

    def _enter(self) -> None:
        given = self._names()[self._chosen - 1] if self._chosen else self._text.strip()
        labels = self._teacher.labels
        if self._landmark is None and given and given not in labels:
            self._landmark, self._text, self._chosen, self._problem = given, "", 0, ""
            return
        landmark, category = (given, "") if self._landmark is None else (self._landmark, given)
        self._reset()
        self._try(lambda: self._teacher.teach(landmark, category))

    def _names(self) -> Sequence[str]:
        labels = self._teacher.labels
        known = labels if self._landmark is None else set(labels.values())
        return sorted(name for name in known if self._text.casefold() in name.casefold())

    def _reset(self) -> None:
        self._text, self._chosen, self._landmark, self._problem = "", 0, None, ""

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except DataError as error:
            self._problem = str(error)
            _log.warning("--teach: %s", error)
