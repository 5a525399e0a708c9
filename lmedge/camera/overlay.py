"""The panel drawn on a frame: both labels with probability bars, rate, time and temperature."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from ..classifier import Prediction
from ..rejection import UNKNOWN
from . import text
from .frames import BgrImage

# BGR. The bars are sky blue and orange of Okabe and Ito's palette (Color Universal Design, 2008),
# which every kind of colour vision distinguishes. The panel keeps its contrast on any image.
WHITE: text.Color = (255, 255, 255)
PALE: text.Color = (205, 205, 205)
TRACK: text.Color = (95, 95, 95)
LANDMARK: text.Color = (233, 180, 86)
CATEGORY: text.Color = (0, 159, 230)
SHADE = 0.32  # share of the image's brightness that stays under the panel

# Lengths in units of the height of a capital letter.
_MARGIN = 0.8
_PADDING = 0.8
_BAR = 0.4
_TO_BAR = 0.5
_TO_ROW = 0.9
_FOOT = 0.8
_WIDTH = 25.0
_ROW = 1.0 + _TO_BAR + _BAR + _TO_ROW
_HEIGHT = 2 * _PADDING + 2 * _ROW + _FOOT
_LINE = 1.8  # from one line of a message to the next
_SMALLEST = 10.0  # pixels: a capital letter one can read
_ILLEGIBLE = 3.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """Place of the panel on a frame, in pixels; `unit` is the height of a capital letter."""

    left: int
    top: int
    width: int
    height: int
    unit: float


def panel(frame_width: int, frame_height: int) -> Panel | None:
    """Lay the panel out for a frame: a fixed share of its shorter side, always inside.

    Capitals are at least 10 pixels high if the frame has room for that (from 200 x 100). Returns
    None if not even illegible ones fit.
    """
    unit = max(_SMALLEST, min(frame_width, frame_height) / 32)
    unit = min(unit, frame_width / (18 + 2 * _MARGIN), frame_height / (_HEIGHT + 2 * _MARGIN))
    if unit < _ILLEGIBLE:
        return None
    margin = int(_MARGIN * unit)
    width = min(int(_WIDTH * unit), frame_width - 2 * margin)
    return Panel(left=margin, top=margin, width=width, height=int(_HEIGHT * unit), unit=unit)


def annotate(
    frame: BgrImage,
    prediction: Prediction,
    *,
    frames_per_second: float | None = None,
    known: bool = True,
    celsius: float | None = None,
) -> BgrImage:
    """Return a copy of a frame with both labels drawn on it.

    A frame under about 60 x 30 pixels has no room and is copied as it is.

    Args:
        frame: (H, W, 3) uint8 BGR.
        prediction: The labels, their probabilities, and the milliseconds at the foot.
        frames_per_second: Rate at the foot; None leaves it out.
        known: False shows UNKNOWN in place of labels.
        celsius: Temperature of the processor at the foot; None leaves it out.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    image = frame.copy()
    box = panel(frame.shape[1], frame.shape[0])
    if box is None:
        return image
    region = image[box.top : box.top + box.height, box.left : box.left + box.width]
    region[:] = cv2.convertScaleAbs(region, alpha=SHADE)
    unit, top = box.unit, box.top + _PADDING * box.unit
    left, room = box.left + _PADDING * unit, box.width - 2 * _PADDING * unit
    if known:
        _row(image, box, top, prediction.landmark, prediction.landmark_probability, LANDMARK)
        second = top + _ROW * unit
        _row(image, box, second, prediction.category, prediction.category_probability, CATEGORY)
    else:
        line = text.cut_to_width(UNKNOWN, unit, room)
        text.draw_text(image, line, (int(left), int(top + unit)), unit, WHITE)
    top += 2 * _ROW * unit
    figures = [
        "" if frames_per_second is None else f"{frames_per_second:.1f} fps",
        f"{prediction.milliseconds:.1f} ms",
        "" if celsius is None else f"{celsius:.0f} °C",
    ]
    foot = text.cut_to_width("   ".join(filter(None, figures)), _FOOT * unit, room)
    text.draw_text(image, foot, (int(left), int(top + _FOOT * unit)), _FOOT * unit, PALE)
    return image


def notice(message: str, width: int, height: int) -> BgrImage:
    """Return a dark card with `message` in its middle, (height, width, 3) uint8 BGR.

    The card takes the place of a frame while there is none.
    """
    card = np.full((height, width, 3), 30, np.uint8)
    unit = max(_ILLEGIBLE, min(max(_SMALLEST, min(width, height) / 24), width / 22))
    lines = text.wrapped(message, unit, width - 4 * unit)
    top = height / 2 - (len(lines) - 1) * _LINE * unit / 2
    for number, line in enumerate(lines):
        left = (width - text.width(line, unit)) / 2
        text.draw_text(card, line, (int(left), int(top + number * _LINE * unit)), unit, WHITE)
    return card


def with_lines(image: BgrImage, lines: Sequence[str]) -> BgrImage:
    """Return a copy of a frame, (H, W, 3) uint8 BGR, with lines of text at its foot.

    A line that is too long goes on in the next one. If not all fit, the first ones are left out.
    """
    height, width = image.shape[:2]
    unit = max(_ILLEGIBLE, min(max(_SMALLEST, min(width, height) / 32), width / 22))
    room = width - 2 * _PADDING * unit
    rows = [part for line in lines for part in text.wrapped(line, unit, room)]
    most = max(1, int((height - 2 * _PADDING * unit) / (_LINE * unit)))
    rows = rows[-most:]
    top = height - int(2 * _PADDING * unit + len(rows) * _LINE * unit)
    shown = image.copy()
    region = shown[max(0, top) :]
    region[:] = cv2.convertScaleAbs(region, alpha=SHADE)
    for number, row in enumerate(rows):
        base = int(top + _PADDING * unit + (number + 0.7) * _LINE * unit)
        text.draw_text(shown, row, (int(_PADDING * unit), base), unit, WHITE)
    return shown


def _row(
    image: BgrImage,
    box: Panel,
    top: float,
    name: str,
    probability: float,
    color: text.Color,
) -> None:
    """Draw a name, its percentage at the right, and a bar under both."""
    unit = box.unit
    left, right = box.left + _PADDING * unit, box.left + box.width - _PADDING * unit
    base = int(top + unit)
    percentage = f"{100 * probability:.0f} %"
    percentage_left = right - text.width(percentage, unit)
    text.draw_text(image, percentage, (int(percentage_left), base), unit, WHITE)
    name = text.cut_to_width(name, unit, percentage_left - unit - left)
    text.draw_text(image, name, (int(left), base), unit, WHITE)
    first, last = int(base + _TO_BAR * unit), int(base + (_TO_BAR + _BAR) * unit)
    end = left + probability * (right - left)
    cv2.rectangle(image, (int(left), first), (int(right), last), TRACK, cv2.FILLED)
    if probability > 0:
        cv2.rectangle(image, (int(left), first), (int(end), last), color, cv2.FILLED)
