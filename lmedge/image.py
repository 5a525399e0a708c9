"""The one preprocessing: what training reads, what calibration reads, what the device runs.

Pictures are uint8 RGB, upright, (H, W, 3). Resizing uses `cv2.INTER_LINEAR_EXACT`, which gives
the same bytes on every processor; a large picture is first halved (a 2 x 2 mean, exact as well)
until it is less than 2.5 times the target, so that few pixels are skipped between samples.
"""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from .errors import DataError
from .picture_header import read_size

Picture = npt.NDArray[np.uint8]
Color = Literal["rgb", "bgr"]

# The network's input is (pixel - PIXEL_MEAN) / PIXEL_SCALE, so that the int8 file's input has
# scale 1/57 and zero point 114: the caller hands over raw bytes and nothing is lost.
PIXEL_MEAN = 114.0
PIXEL_SCALE = 57.0

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
# Up to here a bilinear sample reads nearly every pixel; a VGA frame at 224 is at 2.14, and halving
# it first would double the time of the resize.
HALVE_FROM = 2.5
MAX_PIXELS = 200_000_000
MAX_FILE_BYTES = 512 * 1024 * 1024


class Resize(enum.StrEnum):
    """How a picture becomes a square: cut its longer side, pad its shorter one, or squash."""

    CROP = "crop"
    PAD = "pad"
    SQUASH = "squash"


def read_picture(path: str | os.PathLike[str], side: int | None = None) -> Picture:
    """Decode a picture file: upright by its EXIF orientation, (H, W, 3) uint8 RGB.

    `side`: the picture will be prepared at this size, see `decode_picture`. Raises DataError,
    naming the file, when it is missing, too large, or cannot be decoded.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB, not read")
        encoded = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return decode_picture(encoded, str(path), side)


def decode_picture(encoded: bytes, name: str, side: int | None = None) -> Picture:
    """Decode the bytes of a picture file as `read_picture` does; `name` is used in errors.

    The header is checked before any decoder sees the bytes. With `side`, a large JPEG is decoded
    at half, a quarter or an eighth of its size, as often as `prepare` would halve it for that
    side: the decoder leaves out what the halving would average away.
    """
    width, height = read_size(encoded, name)
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{name}: {width} x {height} pixels is over the limit of {MAX_PIXELS // 1_000_000} "
            "megapixels; make it smaller"
        )
    try:
        scale = _scale(encoded, width, height, side)
        picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), scale)
        if picture is not None and scale != cv2.IMREAD_COLOR_RGB:  # the reduced ones are BGR only
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    except cv2.error:
        picture = None
    if picture is None:
        raise DataError(f"{name}: truncated or damaged; replace or remove it")
    return np.asarray(picture, np.uint8)


def _scale(encoded: bytes, width: int, height: int, side: int | None) -> int:
    """Return OpenCV's flag for the scale to decode at; full for all but JPEG."""
    scale = 1
    if side is not None and encoded[:2] == b"\xff\xd8":
        while scale < 8 and min(width, height) / (scale * side) >= HALVE_FROM:
            scale *= 2
    return {
        1: cv2.IMREAD_COLOR_RGB,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[scale]


def check_frame(frame: npt.NDArray[np.uint8]) -> None:
    """Raise DataError unless `frame` is a non-empty (H, W, 3) uint8 array."""
    # by its code: to compare dtypes takes ten times as long
    if frame.dtype.char != "B" or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise DataError(
            f"a frame must be (height, width, 3) uint8, got {frame.shape} {frame.dtype}"
        )


def prepare(
    frame: npt.NDArray[np.uint8],
    size: int,
    resize: Resize = Resize.CROP,
    *,
    color: Color = "rgb",
) -> Picture:
    """Make `frame` the network's input: (H, W, 3) uint8 -> (size, size, 3) uint8 RGB.

    CROP keeps the central square, PAD adds bars of PIXEL_MEAN (a zero to the network), SQUASH
    ignores the aspect ratio.
    """
    picture = np.empty((size, size, 3), np.uint8)
    prepare_into(picture, frame, resize, color=color)
    return picture


def prepare_into(
    out: Picture,
    frame: npt.NDArray[np.uint8],
    resize: Resize = Resize.CROP,
    *,
    color: Color = "rgb",
    scratch: Picture | None = None,
) -> None:
    """Do as `prepare`, into an array that is there, (size, size, 3) uint8, contiguous.

    `scratch` is another one like it to work in, so that none has to be made for each frame.
    """
    size = out.shape[0]
    height, width = frame.shape[:2]
    if resize is Resize.CROP and height != width:
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        frame = frame[top : top + side, left : left + side]
        height = width = side
    if resize is Resize.PAD and height != width:
        scale = size / max(height, width)
        inner = (max(1, round(height * scale)), max(1, round(width * scale)))
        top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
        out[:] = round(PIXEL_MEAN)
        middle = out[top : top + inner[0], left : left + inner[1]]
        middle[:] = _shrink(frame, *inner)[..., :: -1 if color == "bgr" else 1]
        return
    small = _shrink(frame, size, size, out if color == "rgb" else scratch)
    if color == "bgr":
        cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=out)
    elif small is not out:  # the frame has the size already
        out[:] = small


def shrink_short_side(picture: Picture, side: int, max_aspect: float = 2.0) -> Picture:
    """Resize so that the shorter side is `side`; the longer one is cut at `max_aspect` times it."""
    height, width = picture.shape[:2]
    limit = int(min(height, width) * max_aspect)
    top, left = max(0, height - limit) // 2, max(0, width - limit) // 2
    picture = picture[top : top + min(height, limit), left : left + min(width, limit)]
    height, width = picture.shape[:2]
    scale = side / min(height, width)
    return _shrink(picture, max(side, round(height * scale)), max(side, round(width * scale)))


def _shrink(
    picture: npt.NDArray[np.uint8], height: int, width: int, out: Picture | None = None
) -> Picture:
    """Halve as often as needed, then resize, into `out` where there is one.

    Returns `out`, or the picture itself where it has the size.
    """
    while min(picture.shape[0] / height, picture.shape[1] / width) >= HALVE_FROM:
        half = (picture.shape[1] // 2, picture.shape[0] // 2)
        picture = cv2.resize(picture, half, interpolation=cv2.INTER_LINEAR_EXACT).astype(
            np.uint8, copy=False
        )
    if picture.shape[:2] == (height, width):
        return picture
    # Through four channels, for which OpenCV has vector code, the same bytes come a sixth sooner in
    # a loop of their own, and a tenth later between invokes, which leave nothing in the caches.
    out = np.empty((height, width, 3), np.uint8) if out is None else out
    cv2.resize(picture, (width, height), dst=out, interpolation=cv2.INTER_LINEAR_EXACT)
    return out
