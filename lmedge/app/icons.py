"""The icons of the page: a white pin on blue, in the sizes that phones ask for."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

SIZES = (32, 48, 72, 96, 128, 144, 152, 167, 180, 192, 256, 384, 512)
MASKABLE = (192, 512)  # a launcher cuts these to a shape of its own
_FINE = 2048  # pixels that the icon is drawn with, before it is made smaller
_BLUE, _WHITE = (173, 92, 11), (255, 255, 255)  # BGR


def icon(size: int, *, maskable: bool = False) -> bytes:
    """Return a square PNG of `size` pixels.

    Args:
        size: Side in pixels.
        maskable: Fill the corners and keep the pin inside the middle 80 %.
    """
    image = np.zeros((_FINE, _FINE, 4), np.uint8)
    ground = (*_BLUE, 255)
    if maskable:
        image[:] = ground
    else:
        radius = _FINE // 5
        last = _FINE - radius
        cv2.rectangle(image, (radius, 0), (last, _FINE), ground, cv2.FILLED)
        cv2.rectangle(image, (0, radius), (_FINE, last), ground, cv2.FILLED)
        for corner in ((radius, radius), (last, radius), (radius, last), (last, last)):
            cv2.circle(image, corner, radius, ground, cv2.FILLED)
    _draw_pin(image, share=0.62 if maskable else 0.76)
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".png", small)[1].tobytes()


def _draw_pin(image: npt.NDArray[np.uint8], share: float) -> None:
    """Draw a pin whose height is a share of the image's."""
    middle = _FINE // 2
    unit = share * _FINE / 2
    head = (middle, round(middle - 0.36 * unit))
    radius = round(0.64 * unit)
    tip = (middle, round(middle + unit))
    side = round(0.55 * unit)
    low = round(middle - 0.02 * unit)
    corners = np.array([(middle - side, low), (middle + side, low), tip], np.int32)
    cv2.fillPoly(image, [corners], (*_WHITE, 255))
    cv2.circle(image, head, radius, (*_WHITE, 255), cv2.FILLED)
    cv2.circle(image, head, round(0.27 * unit), (*_BLUE, 255), cv2.FILLED)
