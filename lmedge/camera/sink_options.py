"""The outputs that the command line of `lmedge camera` names, and the sinks that they open."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..streams import open_lines
from ..systemd import under_systemd
from ..writers import held
from .choice import Choice
from .frames import FrameSource
from .preview import Preview
from .recorder import Recorder
from .service import SupervisedState
from .sinks import JsonLines, LabelLines, Sink
from .window import Window

if TYPE_CHECKING:
    from .teacher import Teacher

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SinkOptions:
    """The sinks that the command line names."""

    jsonl: str | None
    record: Path | None
    status: Path | None
    preview: tuple[str, int] | None
    token: str | None
    window: bool

    def open(
        self,
        source: FrameSource,
        choice: Choice,
        stack: contextlib.ExitStack,
        teacher: Teacher | None,
    ) -> list[Sink]:
        """Open all of them, files before the window, so that a frame that is seen was written.

        The teacher is last: what it waits for, the others have seen.
        """
        sinks: list[Sink] = []
        if self.jsonl is not None:
            sinks.append(JsonLines(_open_lines(self.jsonl, stack)))
        elif not self.window:
            sinks.append(LabelLines(sys.stdout))
        if self.record is not None:
            sinks.append(Recorder(self.record))
        if self.preview is not None:
            page = Preview(*self.preview, token=self.token, teacher=teacher)
            _log.info("preview at %s", page.shown())
            sinks.append(page)
        if self.window:
            sinks.append(Window(source, choice, teacher))
        if self.status is not None or under_systemd():
            sinks.append(SupervisedState(self.status, choice))
        return sinks if teacher is None else [*sinks, teacher]


def _open_lines(target: str, stack: contextlib.ExitStack) -> TextIO:
    if target == "-":
        return sys.stdout
    stack.enter_context(held(target))
    return stack.enter_context(open_lines(target))
