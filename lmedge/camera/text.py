"""Text on pictures: OpenCV's own fonts, measured and shortened to fit.

OpenCV 5 carries outline fonts and draws Latin, Greek, Cyrillic and Chinese, Japanese, Korean
letters; OpenCV 4 draws ASCII only. What cannot be drawn is written in its nearest ASCII letters
(é as e, ß as ss), and as ? where there are none.
"""

from __future__ import annotations

import unicodedata

import cv2

from .frames import BgrPicture

Color = tuple[int, int, int]

FONT = cv2.FONT_HERSHEY_SIMPLEX  # OpenCV 5 takes its outline font for it
UNICODE = int(cv2.__version__.partition(".")[0]) >= 5
ELLIPSIS = "…" if UNICODE else "..."
_CAPITAL = 21.0  # height of a capital letter at scale 1, in pixels
# Letters that Unicode does not decompose.
_NEAREST = {
    "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
    "đ": "d", "Đ": "D", "ð": "d", "þ": "th", "Þ": "Th", "ı": "i", "’": "'", "‘": "'", "–": "-",
    "—": "-", "“": '"', "”": '"',
}  # fmt: skip
# Scripts whose letters OpenCV 5 has and that need no shaping or right-to-left order.
_SCRIPTS = ("LATIN", "GREEK", "CYRILLIC", "CJK", "HIRAGANA", "KATAKANA", "HANGUL")


def drawable(text: str, unicode: bool = UNICODE) -> str:
    """Return `text` with the characters OpenCV cannot draw replaced; `unicode`: has OpenCV 5."""
    return "".join(
        _drawable(character, unicode) for character in unicodedata.normalize("NFC", text)
    )


def width(text: str, capital: float) -> int:
    """Width in pixels of `text` with capitals `capital` pixels high."""
    (pixels, _), _ = cv2.getTextSize(drawable(text), FONT, capital / _CAPITAL, _thickness(capital))
    return int(pixels)


def shortened(text: str, capital: float, available: float) -> str:
    """Cut the end of `text` and put an ellipsis, so that it is at most `available` pixels wide."""
    text = drawable(text)
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
    """Break `text` into lines of at most `available` pixels, at spaces; a longer word is cut."""
    lines: list[str] = []
    for word in drawable(text).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width(longer, capital) <= available:
            lines[-1] = longer
        else:
            lines.append(shortened(word, capital, available))
    return lines


def draw(picture: BgrPicture, text: str, at: tuple[int, int], capital: float, color: Color) -> None:
    """Write `text` into `picture`, (H, W, 3) uint8 BGR; `at`: left end of its base line."""
    cv2.putText(
        picture,
        drawable(text),
        at,
        FONT,
        capital / _CAPITAL,
        color,
        _thickness(capital),
        cv2.LINE_AA,
    )


def _thickness(capital: float) -> int:
    """Of the stroke, in pixels, in OpenCV 4; a weight in OpenCV 5, where the font scales it."""
    return 1 if UNICODE else max(1, round(capital / 12))


def _drawable(character: str, unicode: bool) -> str:
    if " " <= character <= "~":
        return character
    if unicode and (character == ELLIPSIS or unicodedata.name(character, "").startswith(_SCRIPTS)):
        return character
    if character in _NEAREST:
        return _NEAREST[character]
    plain = unicodedata.normalize("NFKD", character)
    plain = "".join(part for part in plain if not unicodedata.combining(part))
    return plain if plain.isascii() and plain.isprintable() and plain else "?"
