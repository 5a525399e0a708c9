"""Letters OpenCV does not have: drawn by Pillow, which shapes and orders them, in a system font.

Both are optional: without Pillow's Raqm, fontconfig's `fc-list`, or a font that has all letters of
a text, `font_for` gives None and the caller falls back to what OpenCV can draw.
"""

from __future__ import annotations

import functools
import subprocess
from typing import Any

import numpy as np
import numpy.typing as npt

_CAPITAL = 0.72  # height of a capital letter in sizes of the font, of most sans-serif ones
_SECONDS = 5.0  # the first list of a new system takes its time


@functools.lru_cache(maxsize=64)
def font_for(text: str) -> str | None:
    """Return the path of a font with all letters of `text`, None where there is none."""
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
def width(text: str, font: str, capital: float) -> int:
    """Width of `text` in pixels, with capitals `capital` pixels high."""
    return int(_font(font, capital).getlength(text) + 0.5)


@functools.lru_cache(maxsize=64)
def mask(text: str, font: str, capital: float) -> tuple[npt.NDArray[np.uint8], int, int]:
    """Return the ink of `text`, (H, W) uint8, and where its upper left corner is from the base.

    The offset is (right, down) in pixels from the left end of the base line.
    """
    from PIL import Image, ImageDraw

    face = _font(font, capital)
    left, top, right, bottom = face.getbbox(text, anchor="ls")
    size = (max(1, int(right - left)), max(1, int(bottom - top)))
    picture = Image.new("L", size)
    ImageDraw.Draw(picture).text((-left, -top), text, fill=255, font=face, anchor="ls")
    return np.asarray(picture, np.uint8), int(left), int(top)


@functools.lru_cache(maxsize=16)
def _font(path: str, capital: float) -> Any:
    from PIL import ImageFont

    return ImageFont.truetype(path, max(1.0, capital / _CAPITAL))


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
