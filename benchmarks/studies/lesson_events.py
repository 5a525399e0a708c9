"""Lessons on the emulated board, as a person with its page gives them, and the plug pulled in them.

The lesson is that of `lmedge camera --teach` in the service: a burst of what vivid shows, a name,
a file taught on the board, its trial. Every script is for the image of `board_image`, as root.
"""

from __future__ import annotations

import dataclasses
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import board_lessons
from .board_machine import STORE, Event, Machine

DEPLOYED, TAUGHT = "deploy a file to be taught", "a landmark taught over the page"
IN_LESSON, IN_SWITCH = "plug pulled in a lesson", "plug pulled as the taught file takes over"
CATEGORY = "test patterns"
# What vivid shows in each lesson, by its menu "Test Pattern"; at its start it shows number 0.
PATTERNS = {
    "color squares": 4,
    "checkers": 10,
    "grey ramp": 20,
    "cross": 19,
    "horizontal bars": 3,
    "color bars": 0,
    "noise": 21,
}
CUTS = (IN_LESSON, IN_SWITCH, IN_LESSON, IN_SWITCH)
_SWITCH = 10.0  # seconds in which a taught file takes over and the trial of its release begins
# The release, the label in view, and if the taught file gives its golden answers.
_LOOK = f"""\
cd {STORE} || exit 1
name=$(readlink current)
echo "${{name#releases/}}"
sed -n 's/.*"landmark": "\\([^"]*\\)".*/\\1/p' run/status.json | head -1
for file in taught/*.tflite; do
  [ -e "$file" ] || continue
  if keeper/run inspect "$file" --verify >/dev/null 2>&1; then echo whole; else echo damaged; fi
done
"""
# A step of the history is written before the file, the release and the link.
_REPLACED = f"""\
newest() {{ ls -t {STORE}/taught/*.before/*.tflite 2>/dev/null | head -1; }}
before=$(newest)
i=0; while [ "$(newest)" = "$before" ] && [ $i -lt 6000 ]; do i=$((i + 1)); sleep 0.2; done
newest
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LessonEvents:
    """The events of lessons.

    Attributes:
        machine: The board.
        file: A .tflite file that remembers its photographs.
        chance: Function that returns the dice of the next row.
        release: Function that returns the release in use, by the rows.
        span: Function that returns the seconds of a lesson with its burst, by the rows.
    """

    machine: Machine
    file: Path
    chance: Callable[[], random.Random]
    release: Callable[[], str]
    span: Callable[[], float]

    def events(self) -> Iterator[Event]:
        """Yield a lesson that ends, and those that do not."""
        yield Event(name=DEPLOYED, act=lambda: self.machine.deploy(self.file, board="teaching"))
        first, *others = PATTERNS
        yield Event(name=TAUGHT, act=lambda: self.teach(first), check=lambda: self.right(first))
        for name, pattern in zip(CUTS, others, strict=False):
            act = self.cut_in_lesson if name == IN_LESSON else self.cut_in_switch
            yield Event(
                name=name,
                act=lambda act=act, pattern=pattern: act(pattern),  # type: ignore[misc]
                check=self.old_or_new,
            )

    def teach(self, pattern: str) -> str:
        """Take a burst of what vivid shows, name it, and wait for the end of the lesson."""
        ended = self._begin(pattern)
        return ended or self._said(self._page("end"))

    def cut_in_lesson(self, pattern: str) -> str:
        """Pull the plug at a random moment from the name to the end."""
        begun = time.monotonic()
        ended = self._begin(pattern)
        if not ended:
            named = time.monotonic() - begun
            moment = self.chance().uniform(named, max(named, 1.05 * self.span()))
            time.sleep(max(0.0, moment - (time.monotonic() - begun)))
            ended = f"{moment - named:.0f} s after the name"
        return self._cut(ended)

    def cut_in_switch(self, pattern: str) -> str:
        """Pull the plug at a random moment as the taught file is laid down and taken over."""
        ended = self._begin(pattern)
        if not ended:
            found = self.machine.ssh(_REPLACED, self.span() + self.machine.patience)
            moment = self.chance().uniform(0, _SWITCH)
            time.sleep(moment)
            ended = f"{moment:.1f} s after the first new file" if found else "no new file came"
        return self._cut(ended)

    def right(self, pattern: str) -> str:
        """Return the label that the board gives, and if it is the one that was taught."""
        release, label, *_ = self._look()
        verdict = "right" if label == pattern else "wrong"
        other = "the taught file" if release[:12] != self.release() else "the file of before"
        return f"{other} shows {label}, {verdict}"

    def old_or_new(self) -> str:
        """Return which file came up, and if the last one that was taught is whole."""
        release, _, taught = self._look()
        which = "the file of before" if release[:12] == self.release() else "the taught file"
        return f"{which}; taught/ {taught}"

    def _begin(self, pattern: str) -> str:
        """Show a pattern, take a burst and name it; return the reason if that fails."""
        self._page("show", str(PATTERNS[pattern]))
        state = self._page("begin", pattern, CATEGORY)
        return "" if '"teaching"' in state else f"no lesson: {self._said(state)}"

    def _cut(self, ended: str) -> str:
        self.machine.pull_the_plug()
        self.machine.start()
        return ended

    def _page(self, *words: str) -> str:
        program = Path(board_lessons.__file__).read_text("utf-8")
        shown = " ".join(f"'{word}'" for word in words)
        script = f"python3 - {shown} <<'END'\n{program}\nEND\n"
        return self.machine.ssh(script, board_lessons.LONGEST + self.machine.patience) or ""

    def _said(self, state: str) -> str:
        """Return the line for people in the state of a lesson."""
        lines = [line for line in state.splitlines() if line[:1] == "{"]
        return str(json.loads(lines[-1])["message"]) if lines else "no answer"

    def _look(self) -> tuple[str, str, str]:
        """Return the release, the label, and if the taught file is whole."""
        lines = (self.machine.ssh(_LOOK, self.machine.patience) or "").splitlines()
        release, label, *whole = [*lines, "", ""] if len(lines) < 2 else lines
        return release, label, ", ".join(whole) or "empty"
