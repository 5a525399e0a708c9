"""The words that the documentation and the help do not use, and the words in their place.

`python -m tests.glossary` fails when README.md, CONTRIBUTING.md, a page of docs/ or the help of a
command uses one of them; `make lint` runs it. Names of formats stand in backticks and are not
prose: they are left out, but options and commands in backticks are not.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
WORDS = {
    r"strangers?": "unknown image(s)",
    r"rungs?": "candidate format(s)",
    r"ladders?": "candidate formats",
    r"trunks?": "backbone(s)",
    r"lettering": "fonts",
    r"parcels?": "payload",
    r"pictured?|pictures": "image(s), or photograph(s) of the user",
    r"wish(es)?": "SplitOptions, CaptureOptions, or options",
    r"spared": "logged failure",
    r"said": "predicted, reported or printed",
    r"told": "available, distinguished or reported",
}
_WORD = re.compile(rf"(?<![\w`])({'|'.join(WORDS)})(?![\w`])", re.IGNORECASE)
# A block of code, a span of code within one paragraph, the target of a link.
_CODE = re.compile(r"^```.*?^```|`(?:[^`\n]|\n(?!\n))+`|\]\([^)\s]*\)", re.DOTALL | re.MULTILINE)
_COMMAND = ("```", "`-", "`lmedge ")


def _without_names(text: str) -> str:
    """Blank names of formats and targets of links; the lines keep their numbers."""

    def blank(match: re.Match[str]) -> str:
        return match[0] if match[0].startswith(_COMMAND) else re.sub(r"[^\n]", " ", match[0])

    return _CODE.sub(blank, text)


def misused(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line number from 1, word, replacement) for each word of the glossary's left column."""
    in_table = False
    for number, line in enumerate(_without_names(text).splitlines(), start=1):
        if line.startswith("#"):
            in_table = "glossary" in line.lower()
        if in_table and line.startswith("|"):
            continue
        for match in _WORD.finditer(line.replace("-", " ")):
            word = match[1].lower()
            instead = next(new for old, new in WORDS.items() if re.fullmatch(old, word))
            yield number, word, instead


def pages() -> list[Path]:
    """Return the documents that the rule holds for."""
    named = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    return [*named, *sorted((ROOT / "docs").rglob("*.md"))]


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield (words on the command line, command) of every command and group."""
    from lmedge.cli import cli

    def below(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield words, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None, name
                yield from below(f"{words} {name}", inner)

    return below("lmedge", cli)


def problems() -> Iterator[str]:
    """Yield one line for each misused word, with its place and the word to use."""
    for path in pages():
        for number, word, instead in misused(path.read_text("utf-8")):
            yield f"{path.relative_to(ROOT)}:{number}: {word}; use {instead}"
    for words, command in commands():
        text = command.get_help(click.Context(command, info_name=words))
        for number, word, instead in misused(text):
            yield f"{words} --help:{number}: {word}; use {instead}"


def main() -> None:
    """Print the problems and fail if there are any."""
    found = list(problems())
    for line in found:
        click.echo(line)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
