"""JPEG data: the decoder's reports of damage, which image libraries keep to themselves.

Most libraries decode a JPEG that stops inside, or that lost bytes in its middle, without an error;
rows are then grey or shifted. libjpeg-turbo notices nearly all of it, since the remaining codes do
not end at the end of the image. simplejpeg returns its reports. Without simplejpeg, which has no
wheel for 32-bit ARM, only the end mark is checked.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

START, END = b"\xff\xd8", b"\xff\xd9"
# USB cameras and phones leave a few bytes between the last code and the end mark.
EXTRANEOUS = 16
_HARMLESS = re.compile(
    r"unknown JFIF revision|Unknown Adobe color|Inconsistent progression|Invalid SOS parameters"
    r"|Could not determine subsampling"  # of a ratio that is rare
)
_COUNT = re.compile(r"(\d+) extraneous bytes")

Encoded = bytes | bytearray | memoryview | npt.NDArray[np.uint8]


def find_damage(encoded: Encoded) -> str | None:
    """Return the decoder's report on a JPEG that is cut or damaged, None if it is whole.

    The image is decoded at an eighth of its size. Bytes behind the end mark, a second image of an
    MPO file for example, do not count.

    Args:
        encoded: The bytes of a JPEG file or of a frame.
    """
    try:
        _decoded(encoded, "GRAY", 8)
    except ValueError as error:
        return _plain(error)
    return None


def decode_jpeg(encoded: Encoded, color: Literal["rgb", "bgr"]) -> npt.NDArray[np.uint8] | None:
    """Decode a JPEG, without its EXIF orientation; None if it is cut or damaged.

    The bytes are those of OpenCV's decoder, and the check costs no second pass.

    Args:
        encoded: The bytes of a JPEG file or of a frame.
        color: Order of the channels to return.

    Returns:
        (H, W, 3) uint8.
    """
    try:
        return _decoded(encoded, color.upper(), 1)
    except ValueError:
        return None


def _decoded(encoded: Encoded, space: str, factor: int) -> npt.NDArray[np.uint8]:
    """Decode at 1/factor of the size; raise ValueError if the decoder reports damage."""
    library = _library()
    if library is None:
        return _by_opencv(encoded, space)
    wanted = {} if factor == 1 else {"min_width": 1, "min_height": 1, "min_factor": factor}
    for strict in (True, False):
        try:
            return np.asarray(
                library.decode_jpeg(encoded, space, strict=strict, **wanted), np.uint8
            )
        except ValueError as error:
            if not _harmless(str(error)):
                raise
    return _by_opencv(encoded, space)  # an unusual header, which simplejpeg does not read


def _by_opencv(encoded: Encoded, space: str) -> npt.NDArray[np.uint8]:
    data = bytes(encoded)
    if not data.startswith(START) or data.rfind(END) < 0:
        raise ValueError("no end of image")
    flags = {
        "GRAY": cv2.IMREAD_REDUCED_GRAYSCALE_8,
        "RGB": cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION,
        "BGR": cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
    }
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags[space])
    except cv2.error:
        image = None
    if image is None:
        raise ValueError("cannot be decoded")
    return np.asarray(image, np.uint8)


def _harmless(report: str) -> bool:
    count = _COUNT.search(report)
    return bool(_HARMLESS.search(report)) or (count is not None and int(count[1]) <= EXTRANEOUS)


def _plain(error: ValueError) -> str:
    """Return the report in lower case, without the words that all reports share."""
    text = str(error).removeprefix("Corrupt JPEG data: ").partition("(): ")
    return (text[2] or text[0]).lower()


def _library() -> Any:
    """Return simplejpeg, None if it is not installed."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg
