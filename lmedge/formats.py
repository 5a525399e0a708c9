"""Image formats by their first bytes: names, suffixes, and the size that a header gives.

Sizes come from the headers, before a decoder reads anything: a file of a few bytes may announce
more pixels than the memory holds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from .errors import DataError

# Suffixes in lower case by format. OpenCV reads all but HEIC; GIF and AVIF need OpenCV 4.12, or
# Pillow; HEIC needs the extra `heic`.
SUFFIXES_OF: Mapping[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "WebP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "HEIC": (".heic", ".heif", ".hif"),
}
SUFFIXES = frozenset(suffix for suffixes in SUFFIXES_OF.values() for suffix in suffixes)
# Images and films that people keep beside photographs, and that no part of lmedge reads.
OTHER_SUFFIXES = frozenset(
    {
        *(".3fr", ".3gp", ".arw", ".avi", ".cr2", ".cr3", ".dng", ".eps", ".exr", ".gpr", ".hdr"),
        *(".ico", ".j2k", ".jp2", ".jpf", ".jpx", ".jxl", ".kdc", ".m4v", ".mkv", ".mov", ".mp4"),
        *(".nef", ".nrw", ".orf", ".pbm", ".pcx", ".pef", ".pgm", ".ppm", ".psb", ".psd", ".raf"),
        *(".raw", ".rw2", ".sr2", ".srw", ".svg", ".tga", ".webm", ".x3f", ".xcf"),
    }
)
READ = "JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC"

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {
    *(b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"),
    *(b"mif1", b"mif2", b"msf1", b"miaf"),
}
_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "BigTIFF"),
    (b"MM\x00+", "BigTIFF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
)
# JPEG markers that start a frame and hold its size: SOF0..SOF15 without DHT, JPG and DAC.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT, LONG


def kind_of(encoded: bytes) -> str | None:
    """Return the format by the first bytes: a key of SUFFIXES_OF, another name, or None."""
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return "WebP"
    if encoded[4:8] == b"ftyp":
        return _isobmff_kind(encoded)
    if encoded[:15].lower().lstrip().startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "HTML or XML"
    return next((name for magic, name in _MAGIC if encoded.startswith(magic)), None)


def _isobmff_kind(encoded: bytes) -> str:
    """Return AVIF, HEIC or MP4 by the brands of the first box; an AVIF may list HEIC's as well."""
    length = min(int.from_bytes(encoded[:4], "big"), 256)
    brands = {encoded[8:12], *(encoded[at : at + 4] for at in range(16, length - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIC_BRANDS else "MP4"


def read_size(encoded: bytes, name: str) -> tuple[int, int]:
    """Return (width, height) in pixels from the header, before any rotation.

    Args:
        encoded: The bytes of an image file.
        name: Name of the file, used in errors.

    Raises:
        DataError: The bytes are damaged, or of no format of `SUFFIXES_OF`.
    """
    kind = kind_of(encoded)
    if kind is None or kind not in SUFFIXES_OF:
        what = f"not a {READ} image" + (f" but {kind}" if kind else "")
        raise DataError(f"{name}: {what}; replace or remove it")
    try:
        size = _READERS[kind](encoded)
    except (struct.error, IndexError, ValueError) as error:
        raise DataError(f"{name}: truncated or damaged; replace or remove it") from error
    if size[0] < 1 or size[1] < 1:
        raise DataError(f"{name}: its header gives no size; replace or remove it")
    return size


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


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _bmp(data: bytes) -> tuple[int, int]:
    # OS/2's first version has a header of 12 bytes, with 16 bits a side
    layout = "<HH" if struct.unpack_from("<I", data, 14)[0] == 12 else "<ii"
    width, height = struct.unpack_from(layout, data, 18)
    return abs(width), abs(height)


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


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


def _tiff(data: bytes) -> tuple[int, int]:
    tags = tiff_tags(data)
    return tags.get(_TIFF_WIDTH, 0), tags.get(_TIFF_HEIGHT, 0)


def tiff_tags(data: bytes) -> dict[int, int]:
    """Return the first value of each whole-number tag of the first directory of a TIFF.

    EXIF is such a TIFF. Raises ValueError or struct.error if the bytes are none.
    """
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(data[:4])
    if order is None:
        raise ValueError("no TIFF header")
    start = struct.unpack_from(f"{order}I", data, 4)[0]
    tags: dict[int, int] = {}
    for number in range(struct.unpack_from(f"{order}H", data, start)[0]):
        entry = start + 2 + 12 * number
        tag, kind, count = struct.unpack_from(f"{order}HHI", data, entry)
        letter = _TIFF_INTEGERS.get(kind)
        if letter is None or count < 1:
            continue
        inside = count * struct.calcsize(letter) <= 4
        at = entry + 8 if inside else struct.unpack_from(f"{order}I", data, entry + 8)[0]
        tags.setdefault(tag, struct.unpack_from(order + letter, data, at)[0])
    return tags


def _isobmff(data: bytes) -> tuple[int, int]:
    """Return the largest size of any item: tiles and thumbnails are smaller than the image."""
    sizes = [
        struct.unpack_from(">II", body, 4) for kind, body in item_properties(data) if kind == "ispe"
    ]
    width, height = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    return width, height


def item_properties(data: bytes) -> list[tuple[str, bytes]]:
    """Return the item properties of an AVIF or HEIC file, each with its kind and body, in order."""
    return list(boxes(box_body(box_body(box_body(data, "meta")[4:], "iprp"), "ipco")))


def box_body(data: bytes, kind: str) -> bytes:
    """Return the body of the first box of a kind (ISO/IEC 14496-12), b"" if there is none."""
    return next((body for found, body in boxes(data) if found == kind), b"")


def boxes(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the kind and the body of each box."""
    at = 0
    while at + 8 <= len(data):
        length, head = int.from_bytes(data[at : at + 4], "big"), 8
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        elif length == 0:  # up to the end of the file
            length = len(data) - at
        if length < head:
            raise ValueError("a box shorter than its header")
        yield data[at + 4 : at + 8].decode("latin-1"), data[at + head : at + length]
        at += length


_READERS = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WebP": _webp,
    "BMP": _bmp,
    "TIFF": _tiff,
    "GIF": _gif,
    "AVIF": _isobmff,
    "HEIC": _isobmff,
}
