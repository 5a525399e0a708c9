"""Text on images: OpenCV's own fonts, measured and shortened to fit.

OpenCV 5 has outline fonts and draws Latin, Greek, Cyrillic, Chinese, Japanese and Korean letters;
OpenCV 4 draws ASCII only. Pillow shapes and draws a text with other letters if the system has a
font for it. Otherwise a character is replaced by its nearest ASCII letters (é by e, ß by ss), or
by ? if there are none.
"""

from __future__ import annotations

import functools
import subprocess
import unicodedata
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ..harmless import REPLACEMENT, harmless
from .frames import BgrImage

_CAPITAL_SHARE = 0.72  # height of a capital letter in sizes of the font, of most sans-serif ones
_SECONDS = 5.0  # the first list of a new system takes its time


@functools.lru_cache(maxsize=64)
def _font_for(text: str) -> str | None:
    """Return the path of a font with all letters of `text`, None if there is none."""
    if not _can_shape():
        return None
    letters = sorted({f"{ord(letter):x}" for letter in text if not letter.isspace()})
    command = ["fc-list", "-f", "%{file}\n", f":charset={' '.join(letters)}:scalable=true"]
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=True
        ).stdout.split("\n")
    except (OSError, subprocess.SubprocessError):
        return None
    return min(filter(None, found), key=_preference, default=None)


@functools.lru_cache(maxsize=64)
def _font_width(text: str, font: str, capital: float) -> int:
    """Width of `text` in pixels, with capitals `capital` pixels high."""
    return int(_font(font, capital).getlength(text) + 0.5)


@functools.lru_cache(maxsize=64)
def _mask(text: str, font: str, capital: float) -> tuple[npt.NDArray[np.uint8], int, int]:
    """Return the ink of `text`, (H, W) uint8, and the offset of its upper left corner.

    The offset is (right, down) in pixels from the left end of the base line.
    """
    from PIL import Image, ImageDraw

    face = _font(font, capital)
    left, top, right, bottom = face.getbbox(text, anchor="ls")
    size = (max(1, int(right - left)), max(1, int(bottom - top)))
    image = Image.new("L", size)
    ImageDraw.Draw(image).text((-left, -top), text, fill=255, font=face, anchor="ls")
    return np.asarray(image, np.uint8), int(left), int(top)


@functools.lru_cache(maxsize=16)
def _font(path: str, capital: float) -> Any:
    from PIL import ImageFont

    return ImageFont.truetype(path, max(1.0, capital / _CAPITAL_SHARE))


@functools.cache
def _can_shape() -> bool:
    try:
        from PIL import features
    except ImportError:
        return False
    return bool(features.check("raqm"))


def _preference(path: str) -> tuple[bool, int, str]:
    """Sans serif and regular first: the shortest name is mostly that of the regular weight."""
    return "sans" not in path.lower(), len(path), path


Color = tuple[int, int, int]

FONT = cv2.FONT_HERSHEY_SIMPLEX  # OpenCV 5 takes its outline font for it
UNICODE = int(cv2.__version__.partition(".")[0]) >= 5
ELLIPSIS = "…" if UNICODE else "..."
_CAPITAL = 21.0  # height of a capital letter at scale 1, in pixels
# Letters that Unicode does not decompose.
_NEAREST = {
    "ß": "ss",
    "æ": "ae",
    "Æ": "AE",
    "œ": "oe",
    "Œ": "OE",
    "ø": "o",
    "Ø": "O",
    "ł": "l",
    "Ł": "L",
    "đ": "d",
    "Đ": "D",
    "ð": "d",
    "þ": "th",
    "Þ": "Th",
    "ı": "i",
    "’": "'",
    "‘": "'",
    "–": "-",
    "—": "-",
    "°": "",
    "“": '"',
    "”": '"',
}
# Scripts whose letters OpenCV 5 has and that need no shaping or right-to-left order.
_SCRIPTS = ("LATIN", "GREEK", "CYRILLIC", "CJK", "HIRAGANA", "KATAKANA", "HANGUL")


def drawable(text: str, unicode: bool = UNICODE) -> str:
    """Return `text` without characters that OpenCV cannot draw; `unicode` is True for OpenCV 5."""
    return "".join(
        _drawable(character, unicode) for character in unicodedata.normalize("NFC", text)
    )


def width(text: str, capital: float) -> int:
    """Width in pixels of `text` with capitals `capital` pixels high."""
    text, font = _written(text)
    if font is not None:
        return _font_width(text, font, capital)
    (pixels, _), _ = cv2.getTextSize(text, FONT, capital / _CAPITAL, _thickness(capital))
    return int(pixels)


def cut_to_width(text: str, capital: float, available: float) -> str:
    """Cut the end of `text` and put an ellipsis, so that it is at most `available` pixels wide."""
    text, _ = _written(text)
    if width(text, capital) <= available:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if width(text[:middle].rstrip() + ELLIPSIS, capital) <= available:
            fits = middle
        else:
            too_long = middle
    return text[:fits].rstrip() + ELLIPSIS if fits else ""


def wrapped(text: str, capital: float, available: float) -> list[str]:
    """Break `text` at spaces into lines of at most `available` pixels; a longer word is cut."""
    lines: list[str] = []
    for word in drawable(text).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width(longer, capital) <= available:
            lines[-1] = longer
        else:
            lines.append(cut_to_width(word, capital, available))
    return lines


def draw_text(
    image: BgrImage, text: str, at: tuple[int, int], capital: float, color: Color
) -> None:
    """Write `text` into `image`, (H, W, 3) uint8 BGR; `at`: left end of its base line."""
    text, font = _written(text)
    if font is not None:
        _blend(image, *_mask(text, font, capital), at, color)
        return
    cv2.putText(image, text, at, FONT, capital / _CAPITAL, color, _thickness(capital), cv2.LINE_AA)


def _written(text: str) -> tuple[str, str | None]:
    """Return the text that can be written, and its system font, None if OpenCV's own will do."""
    text = harmless(text).replace(REPLACEMENT, "?")
    whole, ours = unicodedata.normalize("NFC", text), drawable(text)
    font = None if ours == whole else _font_for(whole)
    return (ours, None) if font is None else (whole, font)


def _blend(
    image: BgrImage,
    ink: npt.NDArray[np.uint8],
    right: int,
    down: int,
    at: tuple[int, int],
    color: Color,
) -> None:
    """Blend ink, (H, W) uint8, into the image, cut at its edges."""
    left, top = at[0] + right, at[1] + down
    x, y = max(0, left), max(0, top)
    region = image[y : max(0, top + ink.shape[0]), x : max(0, left + ink.shape[1])]
    inside = ink[y - top :, x - left :][: region.shape[0], : region.shape[1]]
    share = inside[..., None].astype(np.float32) / 255.0
    region[:] = (region + share * (np.array(color, np.float32) - region)).round()


def _thickness(capital: float) -> int:
    """Return the stroke in pixels for OpenCV 4, or a weight for OpenCV 5, which scales it."""
    return 1 if UNICODE else max(1, round(capital / 12))


def _drawable(character: str, unicode: bool) -> str:
    if " " <= character <= "~":
        return character
    if unicode and (character in "…°" or unicodedata.name(character, "").startswith(_SCRIPTS)):
        return character
    if character in _NEAREST:
        return _NEAREST[character]
    plain = unicodedata.normalize("NFKD", character)
    plain = "".join(part for part in plain if not unicodedata.combining(part))
    return plain if plain.isascii() and plain.isprintable() and plain else "?"
