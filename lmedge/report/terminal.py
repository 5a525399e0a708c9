"""Tables and lines for the terminal; names in them are never read as markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ..harmless import harmless, harmless_lines

NAMED = 5  # names in one line


def plain_table(title: str, *headings: str, width: int | None = None) -> Table:
    """Return an empty table without lines: `title` above the names, headings above the figures.

    `width` is the least width of the first column, in characters.
    """
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(Text(harmless(title), style="bold not dim"), min_width=width, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


class HarmlessConsole(Console):
    """A console that shows text as it is: no markup, no emoji names, no control characters."""

    def __init__(self, *, stderr: bool = False) -> None:
        """Print to standard output, or to standard error."""
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of `renderable`, with harmless text."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else harmless_lines(text), style, control)


def print_line(console: Console, line: str) -> None:
    """Print one line; in a file or a pipe it stays one line, whatever its length."""
    soft = not console.is_terminal
    console.print(harmless(line), markup=False, highlight=False, emoji=False, soft_wrap=soft)


def count_images(count: int) -> str:
    """Return "1 image" or "5 images"."""
    return "1 image" if count == 1 else f"{count} images"


def first_names(names: Sequence[str]) -> str:
    """Return up to NAMED names, and the number of the others."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
