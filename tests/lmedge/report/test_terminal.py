"""Tables and lines for the terminal."""

from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from lmedge.report.terminal import count_images, first_names, plain_table, print_line


def test_names_are_never_read_as_markup() -> None:
    out = io.StringIO()
    console = Console(file=out, width=60)
    table = plain_table("[red]landmarks[/]", "F1")
    table.add_row(Text("[bold]:smile:"), "0.50")
    console.print(table)
    print_line(console, "weakest: [/bold] " + "a long name, " * 20)
    shown = out.getvalue()
    assert "[red]landmarks[/]" in shown
    assert "[bold]:smile:" in shown
    assert "weakest: [/bold] a long name" in shown.splitlines()[-1]  # one line, not wrapped


def test_counts_and_names_of_many() -> None:
    assert [count_images(count) for count in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert first_names(["a", "b"]) == "a, b"
    assert first_names(list("abcdefg")) == "a, b, c, d, e and 2 more"
