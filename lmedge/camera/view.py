"""How a camera's picture is turned, mirrored and cut before anything looks at it."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import numpy.typing as npt

from lmedge.errors import LmedgeError

BgrPicture = npt.NDArray[np.uint8]

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@dataclasses.dataclass(frozen=True)
class View:
    """Turn clockwise by `rotate` degrees, then mirror left to right, then keep `roi`.

    `rotate` is 0, 90, 180 or 270. `roi` is (left, top, width, height) as shares of the turned
    picture, 0 to 1, so that it holds at every resolution a camera comes back with.
    """

    rotate: int = 0
    mirror: bool = False
    roi: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        """Raise LmedgeError unless the values are in range."""
        if self.rotate not in {0, *_TURNS}:
            raise LmedgeError(f"rotate must be 0, 90, 180 or 270 degrees, not {self.rotate}")
        if self.roi is None:
            return
        left, top, width, height = self.roi
        inside = left >= 0 and top >= 0 and left + width <= 1.001 and top + height <= 1.001
        if not (inside and width > 0 and height > 0):
            raise LmedgeError(
                "roi must be LEFT,TOP,WIDTH,HEIGHT as shares of the picture from 0 to 1, inside "
                f"it, not {','.join(f'{value:g}' for value in self.roi)}"
            )

    def apply(self, picture: BgrPicture) -> BgrPicture:
        """Return (H, W, 3) uint8 as it is to be seen; at least one pixel is kept."""
        if self.rotate:
            picture = np.asarray(cv2.rotate(picture, _TURNS[self.rotate]), np.uint8)
        if self.mirror:
            picture = np.asarray(cv2.flip(picture, 1), np.uint8)
        if self.roi is not None:
            height, width = picture.shape[:2]
            left, top, wide, high = self.roi
            x, y = min(width - 1, round(left * width)), min(height - 1, round(top * height))
            x_end = max(x + 1, round((left + wide) * width))
            y_end = max(y + 1, round((top + high) * height))
            picture = np.ascontiguousarray(picture[y:y_end, x:x_end])
        return picture


WHOLE = View()
