"""The one preprocessing, shared by training, calibration and the device.

Images are uint8 RGB, upright, (H, W, 3). Resizing uses `cv2.INTER_LINEAR_EXACT`, which gives
the same bytes on every processor. A large image is first halved (a 2 x 2 mean, exact as well)
until it is less than HALVE_FROM times the target, so that few pixels are skipped between samples.
"""

from __future__ import annotations

import enum
import errno
import os
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from .errors import DataError
from .formats import kind_of, read_size
from .jpeg import find_damage
from .pixels import decode_pixels
from .regular import read_regular

RgbImage = npt.NDArray[np.uint8]
Color = Literal["rgb", "bgr"]

# The network's input is (pixel - PIXEL_MEAN) / PIXEL_SCALE, so that the int8 file's input has
# scale 1/57 and zero point 114: the caller hands over raw bytes and nothing is lost.
PIXEL_MEAN = 114.0
PIXEL_SCALE = 57.0

# Up to here a bilinear sample reads nearly every pixel; a VGA frame at 224 is at 2.14, and halving
# it first would double the time of the resize.
HALVE_FROM = 2.5
MAX_PIXELS = 200_000_000
MAX_FILE_BYTES = 512 * 1024 * 1024


class Resize(enum.StrEnum):
    """The way to make an image square: cut its longer side, pad its shorter one, or squash."""

    CROP = "crop"
    PAD = "pad"
    SQUASH = "squash"


def read_image(path: str | os.PathLike[str], side: int | None = None) -> RgbImage:
    """Decode an image file.

    Args:
        path: A file of one of the formats in docs/formats.md, JPEG and PNG among them.
        side: Side in pixels at which the image will be prepared; a large JPEG is then decoded
            smaller, see `decode_image`. Every command does so. None decodes it in full.

    Returns:
        (H, W, 3) uint8 RGB, upright by its metadata; what is transparent is white.

    Raises:
        DataError: The file is missing, too large, or cannot be decoded.
    """
    return decode_image(read_encoded(Path(path)), str(path), side)


def read_encoded(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        DataError: The file is missing, too large, unreadable, or a device or pipe, which could
            block for ever.
    """
    try:
        return read_regular(path, MAX_FILE_BYTES)
    except OSError as error:
        problem = {
            errno.EISDIR: "a folder, not an image; pass its images",
            errno.EINVAL: "neither a file nor a folder; remove it",
            errno.EFBIG: f"larger than {MAX_FILE_BYTES >> 20} MiB, not read",
        }.get(error.errno or 0, f"cannot be read ({error.strerror})")
        raise DataError(f"{path}: {problem}") from error


def decode_image(encoded: bytes, name: str, side: int | None = None) -> RgbImage:
    """Decode the bytes of an image file as `read_image` does; `name` is used in errors.

    The header is checked before a decoder reads the bytes, and a JPEG that is cut or damaged inside
    is refused, see `lmedge.jpeg`. With `side`, a large JPEG is decoded at
    half, a quarter or an eighth of its size, as often as `prepare` would halve it for that side.
    The decoder then leaves out the detail that the halving would average away.
    """
    width, height = read_size(encoded, name)
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{name}: {width} x {height} pixels is over the limit of {MAX_PIXELS // 1_000_000} "
            "megapixels; make it smaller"
        )
    kind = kind_of(encoded) or ""
    damage = find_damage(encoded) if kind == "JPEG" else None
    if damage is not None:
        raise DataError(f"{name}: damaged JPEG data ({damage}); replace or remove it")
    image = decode_pixels(encoded, kind, name, _scale(kind, min(width, height), side))
    if image is None:
        raise DataError(f"{name}: truncated or damaged; replace or remove it")
    return image


def decoding_scale(encoded: bytes, name: str, side: int) -> int:
    """Return 1, 2, 4 or 8: `decode_image` divides the sides of an image by it.

    Raises DataError for bytes that are no image.
    """
    width, height = read_size(encoded, name)
    return _scale(kind_of(encoded) or "", min(width, height), side)


def _scale(kind: str, shorter: int, side: int | None) -> int:
    """Return the scale to decode at, 1 unless it is a JPEG."""
    scale = 1
    if side is not None and kind == "JPEG":
        while scale < 8 and shorter / (scale * side) >= HALVE_FROM:
            scale *= 2
    return scale


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
) -> RgbImage:
    """Make a frame the network's input.

    Args:
        frame: (H, W, 3) uint8.
        size: Side of the square in pixels.
        resize: CROP keeps the central square; PAD adds bars of PIXEL_MEAN, a zero to the network;
            SQUASH ignores the aspect ratio.
        color: Order of the channels of `frame`, "rgb" or "bgr".

    Returns:
        (size, size, 3) uint8 RGB.
    """
    image = np.empty((size, size, 3), np.uint8)
    prepare_into(image, frame, resize, color=color)
    return image


def prepare_into(
    out: RgbImage,
    frame: npt.NDArray[np.uint8],
    resize: Resize = Resize.CROP,
    *,
    color: Color = "rgb",
    scratch: RgbImage | None = None,
) -> None:
    """Do as `prepare`, into the contiguous (size, size, 3) uint8 array `out`.

    `scratch` is another array of that shape to work in, so that none is made for each frame.
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


def shrink_short_side(image: RgbImage, side: int, max_aspect: float = 2.0) -> RgbImage:
    """Resize so that the shorter side is `side`; the longer one is cut at `max_aspect` times it."""
    height, width = image.shape[:2]
    limit = int(min(height, width) * max_aspect)
    top, left = max(0, height - limit) // 2, max(0, width - limit) // 2
    image = image[top : top + min(height, limit), left : left + min(width, limit)]
    height, width = image.shape[:2]
    scale = side / min(height, width)
    return _shrink(image, max(side, round(height * scale)), max(side, round(width * scale)))


def _shrink(
    image: npt.NDArray[np.uint8], height: int, width: int, out: RgbImage | None = None
) -> RgbImage:
    """Halve as often as needed, then resize, into `out` if it is given.

    Returns `out`, or the image itself if it has the size.
    """
    while min(image.shape[0] / height, image.shape[1] / width) >= HALVE_FROM:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = cv2.resize(image, half, interpolation=cv2.INTER_LINEAR_EXACT).astype(
            np.uint8, copy=False
        )
    if image.shape[:2] == (height, width):
        return image
    # Through four channels, for which OpenCV has vector code, the same bytes come a sixth sooner in
    # a loop of their own, and a tenth later between invokes, which leave nothing in the caches.
    out = np.empty((height, width, 3), np.uint8) if out is None else out
    cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_LINEAR_EXACT)
    return out
