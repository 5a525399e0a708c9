"""The orientation of an image by its metadata, in every container that holds one.

OpenCV finds it in JPEG, PNG and, from 5.0 on, WebP, if the value is a SHORT. Here it is read for
all versions alike, in both byte orders, as SHORT, LONG or BYTE, with and without the header
"Exif". A value that is no orientation counts as upright.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .formats import box_body, boxes, item_properties, tiff_tags

UPRIGHT = 1
_TAG = 0x0112
_HEADER = b"Exif\x00\x00"
_MAX_PROFILE = 1 << 20  # bytes of an unpacked text chunk
# Keys of the text chunks in which ImageMagick kept EXIF before PNG had a chunk for it
_PROFILES = (b"Raw profile type exif", b"Raw profile type APP1")
_SCAN_MARKERS = {0xDA, 0xD9}
_ALONE = {0x01, *range(0xD0, 0xD9)}


def orientation_of(encoded: bytes, kind: str) -> int:
    """Return the EXIF orientation, 1 to 8, that is still to be applied after decoding.

    Args:
        encoded: The bytes of an image file.
        kind: Its format. TIFF and HEIC decoders turn the image themselves: 1.
    """
    try:
        if kind == "AVIF":
            return _avif(encoded)
        finder = _FINDERS.get(kind)
        exif = b"" if finder is None else finder(encoded)
        value = tiff_tags(exif.removeprefix(_HEADER)).get(_TAG, UPRIGHT) if exif else UPRIGHT
    except (struct.error, IndexError, ValueError, zlib.error):
        return UPRIGHT
    return value if 1 <= value <= 8 else UPRIGHT


def upright(image: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Return (H, W, ...) turned upright, contiguous in memory."""
    if orientation == UPRIGHT:
        return image
    if orientation >= 5:  # the sides are exchanged
        image = image.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        image = image[::-1]
    if orientation in {2, 3, 6, 7}:
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _jpeg(data: bytes) -> bytes:
    at = 2
    while True:
        at = data.index(b"\xff", at)
        while data[at] == 0xFF:
            at += 1
        marker, at = data[at], at + 1
        if marker in _SCAN_MARKERS:
            return b""
        if marker in _ALONE:
            continue
        length = struct.unpack_from(">H", data, at)[0]
        body = data[at + 2 : at + length]
        if marker == 0xE1 and body.startswith(_HEADER):
            return body
        at += length


def _png(data: bytes) -> bytes:
    for kind, body in _png_chunks(data):
        if kind == b"eXIf":
            return body
        if kind in {b"tEXt", b"zTXt", b"iTXt"} and body.startswith(_PROFILES):
            return _profile(kind, body)
    return b""


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def _profile(kind: bytes, body: bytes) -> bytes:
    """Return the bytes that a text chunk holds as hexadecimal digits, below a name and a length."""
    _, _, text = body.partition(b"\x00")
    if kind == b"zTXt":
        text = _unpacked(text[1:])
    elif kind == b"iTXt":
        packed, rest = text[0], text[2:]
        rest = rest.split(b"\x00", 2)[2]  # language, then the translated key
        text = _unpacked(rest) if packed else rest
    match = re.match(rb"\s*\S+\s+\d+\s+([0-9a-fA-F\s]*)", text)
    return bytes.fromhex(match[1].decode()) if match else b""


def _unpacked(packed: bytes) -> bytes:
    return zlib.decompressobj().decompress(packed, _MAX_PROFILE)


def _webp(data: bytes) -> bytes:
    at = 12
    while at + 8 <= len(data):
        length = struct.unpack_from("<I", data, at + 4)[0]
        if data[at : at + 4] == b"EXIF":
            return data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return b""


def _avif(data: bytes) -> int:
    """Return the orientation of irot and imir, which for AVIF take the place of EXIF's.

    ISO/IEC 23000-22: the image is turned anticlockwise first, then mirrored.
    """
    listed = item_properties(data)
    turned, axis = 0, None
    for index in _of_primary(data):
        kind, body = listed[index - 1]
        if kind == "irot":
            turned = body[0] & 3
        elif kind == "imir":
            axis = body[0] & 1
    return {
        None: (1, 8, 3, 6),
        0: (4, 5, 2, 7),  # top and bottom exchanged
        1: (2, 7, 4, 5),  # left and right exchanged
    }[axis][turned]


def _of_primary(data: bytes) -> list[int]:
    """Return the numbers, from 1, of the properties of the primary item."""
    meta = box_body(data, "meta")[4:]
    pitm = box_body(meta, "pitm")
    wanted = int.from_bytes(pitm[4:8] if pitm[0] else pitm[4:6], "big")
    for kind, body in boxes(box_body(meta, "iprp")):
        if kind != "ipma":
            continue
        wide, large = (4 if body[0] else 2), 2 if body[3] & 1 else 1
        at = 8
        for _ in range(int.from_bytes(body[4:8], "big")):
            item, count = int.from_bytes(body[at : at + wide], "big"), body[at + wide]
            at += wide + 1
            found = [int.from_bytes(body[at + large * n :][:large], "big") for n in range(count)]
            at += large * count
            if item == wanted:  # the highest bit marks what a reader must know
                return [number & (0x7FFF if large == 2 else 0x7F) for number in found]
    return []


_FINDERS = {"JPEG": _jpeg, "PNG": _png, "WebP": _webp}
