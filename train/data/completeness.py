"""Whether an image file is what its name says, and whether its end is there.

Decoders fill what is missing with grey and say nothing, so a file that decodes may still be half a
image.
"""

from __future__ import annotations

import io
import re
import struct
import warnings

import numpy as np
from PIL import Image

from lmedge.image import RgbImage

KINDS = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "WebP": (".webp",),
    "BMP": (".bmp",),
}
GREY = 128  # what libjpeg's missing blocks decode to, all channels alike
MIN_GREY_SHARE = 0.05  # of the rows
# A marker that ends entropy-coded data: neither a stuffed zero, nor a restart, nor fill bytes.
_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
_SCAN, _END = 0xDA, 0xD9
_ALONE = {0x01, 0xD8}  # markers without a length
# Behind those lmedge reads, others that people keep under an image's name: said by their name.
_MAGIC = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"BM", "BMP"),
    (0, b"GIF8", "GIF"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"%PDF", "PDF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftyp", "MP4"),
)


def kind_of(encoded: bytes) -> str | None:
    """Return what the first bytes are: a key of KINDS, another known format, or None."""
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return "WebP"
    if encoded[:15].lower().lstrip().startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "HTML or XML"
    for at, magic, name in _MAGIC:
        if encoded[at : at + len(magic)] == magic:
            return name
    return None


def end_is_missing(encoded: bytes, kind: str) -> bool:
    """Return whether a file of a known kind stops before its end."""
    if kind == "JPEG":
        return not _jpeg_ends(encoded)
    if kind == "PNG":
        return encoded.find(b"IEND", 8) < 0
    if kind == "WebP":
        return len(encoded) < 8 + int.from_bytes(encoded[4:8], "little")
    if kind == "BMP":
        return len(encoded) < int.from_bytes(encoded[2:6], "little")
    return False


def _jpeg_ends(encoded: bytes) -> bool:
    """Walk the segments to the end-of-image marker of the image itself.

    Searching for FF D9 anywhere is not enough: a thumbnail in the EXIF segment has one too.
    """
    at, scanning = 2, False
    while True:
        found = _MARKER.search(encoded, at)
        if found is None:
            return False
        marker, at = found[1][0], found.end()
        if marker == _END:
            return scanning
        if marker in _ALONE:
            continue
        if at + 2 > len(encoded):
            return False
        at += int(struct.unpack_from(">H", encoded, at)[0])
        scanning = scanning or marker == _SCAN


def ends_grey(image: RgbImage, kind: str) -> bool:
    """Return whether the last rows of a JPEG are the even grey of blocks that were not there.

    That is how a truncated file looks after a program saved it again or closed it with an end
    marker. image: (H, W, 3) uint8 RGB. One that begins grey as well is not meant, and one that
    EXIF turns is not recognised.
    """
    if kind != "JPEG" or (image[0] == GREY).all():
        return False
    rows = max(8, round(MIN_GREY_SHARE * len(image)))
    tail = image[-rows:].astype(np.int16)
    return len(image) > rows and bool((np.abs(tail - GREY) <= 1).all())


def quantization_of(encoded: bytes, kind: str) -> str | None:
    """Return a short name of a JPEG's quantization tables, which tell the program that saved it."""
    if kind != "JPEG":
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata, which does not matter here
            with Image.open(io.BytesIO(encoded)) as image:
                tables = getattr(image, "quantization", None)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    if not tables:
        return None
    start = "-".join(str(value) for value in tables[min(tables)][:4])
    return f"{len(tables)} starting {start}, sum {sum(map(sum, tables.values()))}"
