"""The kind and size of a picture from its first bytes, before a decoder allocates anything."""

from __future__ import annotations

import struct

from .errors import DataError

# JPEG markers that start a frame and hold its size: SOF0..SOF15 without DHT, JPG and DAC.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def read_size(encoded: bytes, name: str) -> tuple[int, int]:
    """Return (width, height) in pixels as the header says, before any EXIF rotation.

    Raises DataError, naming the file, for what is not a JPEG, PNG, WebP or BMP picture.
    """
    try:
        size = _size(encoded)
    except (struct.error, IndexError, ValueError) as error:
        raise DataError(f"{name}: truncated or damaged; replace or remove it") from error
    if size is None:
        raise DataError(f"{name}: not a JPEG, PNG, WebP or BMP picture; replace or remove it")
    if size[0] < 1 or size[1] < 1:
        raise DataError(f"{name}: its header gives no size; replace or remove it")
    return size


def _size(data: bytes) -> tuple[int, int] | None:
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:2] == b"BM":
        width, height = struct.unpack_from("<ii", data, 18)
        return abs(width), abs(height)
    return None


def _jpeg(data: bytes) -> tuple[int, int]:
    if data.rfind(b"\xff\xd9") < 0:  # some decoders fill the missing part with grey, silently
        raise ValueError("no end of image")
    at = 2
    while True:
        while data[at] != 0xFF:
            at += 1
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        if marker == 0xD9:
            raise ValueError("no frame before the end of image")
        if marker not in _JPEG_STANDALONE:
            at += int(struct.unpack_from(">H", data, at)[0])


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = int(struct.unpack_from("<I", data, 21)[0])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return (
            int.from_bytes(data[24:27], "little") + 1,
            int.from_bytes(data[27:30], "little") + 1,
        )
    raise ValueError("unknown WebP chunk")
