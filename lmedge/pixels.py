"""The pixels of an encoded image: by OpenCV, or by Pillow for what this OpenCV does not read.

What is transparent is laid on white. Each channel becomes (c a + 255 (255 - a)) / 255, rounded to
the nearest whole number, of the straight colour c and the opacity a in 0..255.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .errors import DataError
from .formats import tiff_tags
from .orientation import orientation_of, upright

HEIC_EXTRA = "heic"
_PLAIN = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_STRIP = 64  # rows that are composited at once, so that large images need little more memory
_SAMPLES, _EXTRA_SAMPLES = 277, 338
_BMP_ALPHA_MASK, _BMP_V4 = 66, 108
Array = npt.NDArray[Any]
Rgb = npt.NDArray[np.uint8]


def decode_pixels(encoded: bytes, kind: str, name: str, scale: int = 1) -> Rgb | None:
    """Decode to (H, W, 3) uint8 RGB, upright and opaque; None if the bytes are damaged.

    Args:
        encoded: The bytes of an image file.
        kind: Its format.
        name: Name of the file, used in errors.
        scale: 1, 2, 4 or 8; above 1, a JPEG is decoded smaller.

    Raises:
        DataError: No installed library reads the format.
    """
    if kind == "HEIC":
        return _heic(encoded, name)
    image = _with_opencv(encoded, kind, name, scale)
    if image is None and kind in {"GIF", "AVIF"} and not _opencv_reads(kind):
        image = _with_pillow(encoded, kind, name)
    if image is None:
        return None
    return np.asarray(upright(image, orientation_of(encoded, kind)), np.uint8)


def _with_opencv(encoded: bytes, kind: str, name: str, scale: int) -> Array | None:
    data = np.frombuffer(encoded, np.uint8)
    try:
        if _may_be_transparent(encoded, kind):
            return _transparent(data, encoded, kind, name)
        if scale == 1:
            return cv2.imdecode(data, _PLAIN)
        image = cv2.imdecode(data, _REDUCED[scale] | cv2.IMREAD_IGNORE_ORIENTATION)
        return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    except cv2.error:
        return None


def _transparent(data: Rgb, encoded: bytes, kind: str, name: str) -> Array | None:
    """Decode with the opacity, and lay the image on white."""
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if image is None:
        return None
    if image.ndim == 3 and image.shape[2] == 4 and image.dtype in (np.uint8, np.uint16):
        if kind == "BMP" and not image[..., 3].any():
            return cv2.imdecode(data, _PLAIN)  # programs leave the fourth byte 0 and mean opaque
        # libtiff has multiplied 8 bits already, other containers hold straight colours
        return on_white(image, premultiplied=kind == "TIFF" and image.dtype == np.uint8)
    if kind == "TIFF" and image.ndim == 2 and tiff_tags(encoded).get(_SAMPLES, 1) == 2:
        raise DataError(f"{name}: a grey TIFF with transparency, not read; save it as PNG")
    plain = cv2.imdecode(data, _PLAIN)
    key = _grey_key(encoded) if kind == "PNG" and image.ndim == 2 else None
    if key is not None and plain is not None:
        plain[image == key] = 255
    return plain


def on_white(image: Array, *, premultiplied: bool = False) -> Rgb:
    """Lay (H, W, 4) BGRA, uint8 or uint16, on white; return (H, W, 3) uint8 RGB.

    Of 16 bits the upper 8 are taken, as for opaque images.
    """
    out = np.empty((*image.shape[:2], 3), np.uint8)
    for start in range(0, len(image), _STRIP):
        strip = image[start : start + _STRIP]
        eight = (strip >> 8 if strip.dtype == np.uint16 else strip).astype(np.uint32)
        color, opacity = eight[..., 2::-1], eight[..., 3:]
        light = 255 - opacity
        if premultiplied:
            mixed = np.minimum(color + light, 255)
        else:
            mixed = (color * opacity + 255 * light + 127) // 255
        out[start : start + _STRIP] = mixed
    return out


def _may_be_transparent(encoded: bytes, kind: str) -> bool:
    """Return False if the header rules transparency out, so that the image is decoded as ever."""
    try:
        if kind == "PNG":
            return encoded[25] in {4, 6} or b"tRNS" in encoded[: encoded.find(b"IDAT")]
        if kind == "WebP":
            return _webp_alpha(encoded)
        if kind == "BMP":
            header = struct.unpack_from("<I", encoded, 14)[0]
            mask = struct.unpack_from("<I", encoded, _BMP_ALPHA_MASK)[0]
            return bool(header >= _BMP_V4 and mask)
        if kind == "TIFF":
            tags = tiff_tags(encoded)
            return _EXTRA_SAMPLES in tags or tags.get(_SAMPLES, 1) in {2, 4}
    except (struct.error, IndexError, ValueError):
        return False
    return kind in {"GIF", "AVIF"}


def _webp_alpha(encoded: bytes) -> bool:
    if encoded[12:16] == b"VP8X":
        return bool(encoded[20] & 0x10)
    return encoded[12:16] == b"VP8L" and bool(encoded[24] & 0x10)


def _grey_key(encoded: bytes) -> int | None:
    """Return the grey value that a PNG without an alpha channel declares transparent."""
    at = encoded.find(b"tRNS")
    if at < 0:
        return None
    depth, value = encoded[24], int.from_bytes(encoded[at + 4 : at + 6], "big")
    return value if depth >= 8 else value * 255 // ((1 << depth) - 1)


def _opencv_reads(kind: str) -> bool:
    """Return True if this OpenCV has a decoder for GIF or AVIF."""
    return _tiny(kind) is not None


def _tiny(kind: str) -> Array | None:
    try:
        done, encoded = cv2.imencode(f".{kind.lower()}", np.zeros((16, 16, 3), np.uint8))
        return cv2.imdecode(encoded, cv2.IMREAD_COLOR) if done else None
    except cv2.error:
        return None


def _with_pillow(encoded: bytes, kind: str, name: str) -> Array | None:
    """Decode a GIF or AVIF with Pillow, as it lies in the file."""
    try:
        from PIL import Image, features
    except ImportError:
        raise _missing(name, kind, "pip install 'pillow>=11.3'") from None
    if kind == "AVIF" and not features.check("avif"):
        raise _missing(name, kind, "pip install 'pillow>=11.3'")
    try:
        with Image.open(io.BytesIO(encoded), formats=[kind]) as image:
            rgba = np.asarray(image.convert("RGBA"))
    except (OSError, SyntaxError, ValueError, EOFError):
        return None
    return on_white(rgba[..., [2, 1, 0, 3]])


def _heic(encoded: bytes, name: str) -> Rgb | None:
    """Decode a HEIC with libheif, which turns it upright itself."""
    try:
        import pi_heif
    except ImportError:
        raise _missing(name, "HEIC", f"pip install 'lmedge[{HEIC_EXTRA}]'") from None
    try:
        file = pi_heif.open_heif(io.BytesIO(encoded), convert_hdr_to_8bit=True)
        pixels = np.asarray(file.to_pillow().convert("RGBA"))
    except (OSError, SyntaxError, ValueError, EOFError, RuntimeError, MemoryError):
        return None
    return on_white(pixels[..., [2, 1, 0, 3]])


def _missing(name: str, kind: str, remedy: str) -> DataError:
    return DataError(
        f"{name}: this installation reads no {kind} images; run `{remedy}` or save it as JPEG"
    )
