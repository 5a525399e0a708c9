"""The contact sheet: the images of the findings, under the line of each finding."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

from lmedge.decoder_noise import counting_decoder_noise
from lmedge.errors import DataError
from lmedge.files import replacing
from lmedge.harmless import harmless
from lmedge.image import read_image

from .findings import KINDS, DataFinding, by_kind

TILE, GAP, MARGIN = 150, 12, 20  # pixels
COLUMNS = 6  # images of one finding at most, too
ROWS = 12  # a page
MAX_PAGES = 20
WIDTH = 2 * MARGIN + COLUMNS * TILE + (COLUMNS - 1) * GAP
HEADING_HEIGHT, LINES_HEIGHT, ROW_HEIGHT = 48, 32, 32 + TILE + 52
INK, FADED, ALARM, PAPER, EMPTY = "#202020", "#606060", "#B03A00", "#FFFFFF", "#E4E4E4"


@dataclasses.dataclass(frozen=True)
class _Heading:
    """The kind of the findings below it, and what to do about them."""

    text: str
    detail: str
    height: int = HEADING_HEIGHT


@dataclasses.dataclass(frozen=True)
class _Row:
    """Findings side by side, COLUMNS images together at most."""

    findings: tuple[DataFinding, ...]
    height: int = ROW_HEIGHT


_Strip = _Heading | _Row


def write_sheets(findings: Sequence[DataFinding], data: Path, folder: Path) -> list[Path]:
    """Write contact-sheet.png, contact-sheet-2.png, ... and return their paths; none for none.

    At most COLUMNS images of a finding are shown, at most MAX_PAGES pages are written. Sheets of
    an earlier check in `folder` are replaced.
    """
    written = []
    for number, page in enumerate(_pages(findings), 1):
        if number > MAX_PAGES:
            break
        path = folder / ("contact-sheet.png" if number == 1 else f"contact-sheet-{number}.png")
        with replacing(path) as temporary:
            _draw(page, data).save(temporary, optimize=True)
        written.append(path)
    for old in folder.glob("contact-sheet*.png"):
        if old not in written:
            old.unlink()
    return written


def _pages(findings: Sequence[DataFinding]) -> Iterator[list[_Strip]]:
    """Yield the headings and rows of each page; a heading stays with its first row."""
    page: list[_Strip] = []
    for kind, group in by_kind([finding for finding in findings if finding.names]):
        what, todo = KINDS[kind]
        heading = _Heading(f"{kind}: {what} ({len(group)})", todo)
        for number, row in enumerate(_rows(group)):
            if sum(isinstance(strip, _Row) for strip in page) == ROWS:
                yield page
                page = []
            page += [row] if number and page else [heading, row]
    if page:
        yield page


def _rows(findings: Sequence[DataFinding]) -> Iterator[_Row]:
    row: list[DataFinding] = []
    for finding in findings:
        if sum(map(_width, row)) + _width(finding) > COLUMNS:
            yield _Row(tuple(row))
            row = []
        row.append(finding)
    if row:
        yield _Row(tuple(row))


def _width(finding: DataFinding) -> int:
    return min(len(finding.names), COLUMNS)


def _draw(strips: Sequence[_Strip], data: Path) -> Image.Image:
    page = Image.new("RGB", (WIDTH, 2 * MARGIN + sum(strip.height for strip in strips)), PAPER)
    pen = _Pen(page)
    top = MARGIN
    for strip in strips:
        if isinstance(strip, _Heading):
            pen.write((MARGIN, top), strip.text, "heading", INK)
            pen.write((MARGIN, top + 22), strip.detail, "text", FADED)
        else:
            left = MARGIN
            for finding in strip.findings:
                _draw_finding(pen, (left, top), finding, data)
                left += _width(finding) * (TILE + GAP)
        top += strip.height
    return page


class _Pen:
    """A pen with matplotlib's own font, which is always installed and has most alphabets."""

    def __init__(self, page: Image.Image) -> None:
        self.page, self.draw = page, ImageDraw.Draw(page)
        folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
        self._fonts = {
            name: ImageFont.truetype(str(folder / file), size)
            for name, file, size in (
                ("heading", "DejaVuSans-Bold.ttf", 16),
                ("text", "DejaVuSans.ttf", 12),
                ("small", "DejaVuSans.ttf", 10),
            )
        }

    def write(self, at: tuple[int, int], text: str, font: str, ink: str) -> None:
        self.draw.text(at, text, ink, self._fonts[font])

    def fits(self, text: str, font: str, width: int) -> bool:
        return bool(self.draw.textlength(text, self._fonts[font]) <= width)

    def cut_begin(self, text: str, font: str, width: int) -> str:
        """Cut the beginning off: names differ at their ends."""
        return _cut(text, lambda t: self.fits(t, font, width), lambda t, n: f"…{t[n:]}")

    def cut_end(self, text: str, font: str, width: int) -> str:
        return _cut(text, lambda t: self.fits(t, font, width), lambda t, n: f"{t[:-n].rstrip()}…")

    def two_lines(self, text: str, font: str, width: int) -> tuple[str, str]:
        """Break a line at a space; what the second line cannot hold is cut."""
        if self.fits(text, font, width):
            return text, ""
        words, first = text.split(" "), ""
        while words and self.fits(f"{first} {words[0]}".strip(), font, width):
            first = f"{first} {words.pop(0)}".strip()
        if not first:
            return self.cut_end(text, font, width), ""
        return first, self.cut_end(" ".join(words), font, width)


def _cut(text: str, fits: Callable[[str], bool], shorten: Callable[[str, int], str]) -> str:
    shown, gone = text, 0
    while not fits(shown) and gone < len(text):
        gone += 1
        shown = shorten(text, gone)
    return shown


def _draw_finding(pen: _Pen, at: tuple[int, int], finding: DataFinding, data: Path) -> None:
    left, top = at
    width = _width(finding) * (TILE + GAP) - GAP
    rest = len(finding.names) - COLUMNS
    line = _line(finding) + (f" (and {rest} more, see report.json)" if rest > 0 else "")
    for number, text in enumerate(pen.two_lines(harmless(line), "text", width)):
        pen.write((left, top + 14 * number), text, "text", INK)
    top += LINES_HEIGHT
    for name in finding.names[:COLUMNS]:
        _draw_tile(pen, (left, top), data / name)
        path = PurePosixPath(harmless(name))
        captions = (
            (_folder(pen, path), FADED),
            (pen.cut_begin(path.name, "small", TILE), INK),
            ("left out by the exclude file" if name in finding.exclude else "", ALARM),
        )
        for number, (text, ink) in enumerate(captions):
            pen.write((left, top + TILE + 2 + 13 * number), text, "small", ink)
        left += TILE + GAP


def _folder(pen: _Pen, path: PurePosixPath) -> str:
    """Return the folders of an image; where they are too long, the part and the landmark."""
    first, *between, last = path.parent.parts if len(path.parts) > 2 else ("", str(path.parent))
    if between and not pen.fits(str(path.parent), "small", TILE):
        return pen.cut_begin(f"{first}/…/{last}", "small", TILE)
    return pen.cut_begin(str(path.parent), "small", TILE)


def _line(finding: DataFinding) -> str:
    """Return the message without the names, which stand under the images."""
    if len(finding.names) == 1:
        return finding.message.removeprefix(f"{finding.names[0]}: ")
    return finding.message.removesuffix(f": {', '.join(finding.names)}")


def _draw_tile(pen: _Pen, at: tuple[int, int], path: Path) -> None:
    left, top = at
    right, bottom = left + TILE - 1, top + TILE - 1
    pen.draw.rectangle((left, top, right, bottom), fill=EMPTY)
    try:
        with counting_decoder_noise():
            image = Image.fromarray(read_image(path))
    except DataError:  # a cross, as it cannot be shown
        pen.draw.line((left, top, right, bottom), fill="#C0C0C0", width=2)
        pen.draw.line((left, bottom, right, top), fill="#C0C0C0", width=2)
        return
    image.thumbnail((TILE, TILE))
    middle = left + (TILE - image.width) // 2, top + (TILE - image.height) // 2
    pen.page.paste(image, middle)
