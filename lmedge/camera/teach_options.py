"""`--teach` and `--teach-photographs`: what they need, and the teacher that they open."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import LmedgeError
from ..writers import held
from .choice import Choice
from .frames import FrameSource

if TYPE_CHECKING:
    from .taught_place import TaughtPlace
    from .teacher import Teacher

_OPTIONS = (
    click.option(
        "--teach",
        is_flag=True,
        help="Teach FILE the landmark in view, by the window (key t), the page or the terminal.",
    ),
    click.option(
        "--teach-photographs",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Keep the photographs of each lesson, in <category>/<landmark>/ of DIR.",
    ),
)


def teach_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command that passes them to TeachOptions."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeachOptions:
    """The values of the options."""

    teach: bool
    teach_photographs: Path | None

    def check(self, files: Sequence[Path], *, seen: bool) -> None:
        """Refuse what does not go together; `seen` is True with a window, a page or a terminal.

        Raises:
            click.UsageError: The options lack something.
        """
        if not self.teach:
            if self.teach_photographs is not None:
                raise click.UsageError("--teach-photographs needs --teach")
            return
        if len(files) > 1:
            raise click.UsageError("--teach takes one FILE.tflite, the one that is taught")
        if not seen:
            raise click.UsageError("--teach needs a window, a terminal, or --preview")

    def open(
        self,
        source: FrameSource,
        choice: Choice,
        stack: contextlib.ExitStack,
        terminal: Iterable[str] | None = None,
    ) -> Teacher | None:
        """Start the teacher if it is asked for; `stack` holds the file against other writers.

        terminal: Lines that people type, if they have no other way to teach.

        Raises:
            LmedgeError: The source is no stream, or another process teaches the file.
            ModelFileError: Nothing can be added to the file.
        """
        if not self.teach:
            return None
        from .teacher import Teacher

        if not source.sequence:
            raise LmedgeError(f"{source.name}: unrelated images; --teach needs a camera or a video")
        place = _place(choice.current.model.path)
        stack.enter_context(held(place.held))
        found = Teacher(choice, place, camera=source.name, photographs=self.teach_photographs)
        if terminal is not None:
            from .teach_console import start_console

            start_console(found, terminal)
        return found


def _place(path: Path) -> TaughtPlace:
    from ..deploy.taught import board_place
    from .taught_place import PlainPlace

    return board_place(path) or PlainPlace(path)
