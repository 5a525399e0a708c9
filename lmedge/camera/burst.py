"""A burst: photographs of the scene in view that differ, taken one after the other.

Frames of one colour are left out, as are those that show what an earlier one of the burst shows: a
network learns nothing from them.
"""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..similar import grey_thumbnail
from .frames import BgrImage

FRAMES = 15  # photographs of a burst, unless the view changes too little for so many
GAP = 0.2  # seconds of the stream between two of them
LONGEST = 2 * FRAMES * GAP  # seconds after which a burst ends with what it has
LEAST = 2  # photographs of a landmark
QUALITY = 92  # of JPEG
_FLAT = 4.0  # standard deviation of the thumbnail, in grey levels, of a dark or empty frame
_SAME = 1.5  # mean difference of two thumbnails, in grey levels: the noise of a camera


class BurstTaker:
    """The photographs of one burst, and when the next frame is wanted."""

    def __init__(self, *, frames: int = FRAMES, gap: float = GAP, longest: float = LONGEST) -> None:
        """Begin with the next frame."""
        self.frames, self._gap, self._longest = frames, gap, longest
        self._begun = self._next = -1.0
        self._looks: list[npt.NDArray[np.int16]] = []
        self._images: list[bytes] = []
        self._spare: bytes | None = None  # nearly the first photograph, and not the same bytes
        self.flat = 0

    @property
    def taken(self) -> int:
        """Number of photographs so far."""
        return len(self._images)

    def wants(self, seconds: float) -> bool:
        """Return True if the frame at this time of the stream is to be added."""
        if self._begun < 0:
            self._begun = self._next = seconds
        if seconds < self._next:
            return False
        self._next = seconds + self._gap
        return True

    def is_over(self, seconds: float) -> bool:
        """Return True if there are enough photographs, or if it takes too long."""
        late = self._begun >= 0 and seconds - self._begun >= self._longest
        return self.taken >= self.frames or late

    def add(self, image: BgrImage) -> None:
        """Encode a frame, (H, W, 3) uint8 BGR, and keep it if it shows something else."""
        look = grey_thumbnail(np.ascontiguousarray(image[..., ::-1])).astype(np.int16)
        if float(look.std()) < _FLAT:
            self.flat += 1
            return
        same = any(float(np.abs(look - other).mean()) < _SAME for other in self._looks)
        if same and self._spare is not None:
            return
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        if not same:
            self._looks.append(look)
            self._images.append(jpeg)
        elif jpeg not in self._images:
            self._spare = jpeg

    def photographs(self) -> tuple[bytes, ...]:
        """Return the encoded photographs, at least LEAST.

        Raises DataError with the reason if there are fewer.
        """
        found = list(self._images)
        if len(found) == 1 and self._spare is not None:
            found.append(self._spare)
        if len(found) >= LEAST:
            return tuple(found)
        if self.flat:
            raise DataError(
                f"{self.flat} frames of the burst are dark or empty; uncover the camera or turn on "
                "the light, and take it again"
            )
        raise DataError(
            "the frames of the burst are one and the same; move the camera, and take it again"
        )

    @property
    def hint(self) -> str:
        """A line for the person behind the camera, empty if all is well."""
        if self.taken == 1:
            return "all frames show one view; a second burst from another side would help"
        return ""


def burst_name(images: tuple[bytes, ...]) -> str:
    """Return the name of a burst by its photographs, as origin.csv has it."""
    return f"taught-{hashlib.sha256(b''.join(images)).hexdigest()[:12]}"
