"""The inspection of image files: everything the checks need, without the pixels.

Decoders fill missing data with grey and raise no error, so that a file that decodes may still be
half an image.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import os
import re
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image

from lmedge import __version__
from lmedge.decoder_noise import counting_decoder_noise
from lmedge.errors import DataError
from lmedge.evaluation.folders import LabelledImage
from lmedge.evaluation.names import relative_name
from lmedge.formats import READ, SUFFIXES_OF, kind_of, read_size
from lmedge.image import Resize, RgbImage, decode_image, prepare, read_encoded
from lmedge.progress import progress
from lmedge.reading import map_ahead
from lmedge.similar import DETAIL, ImageFingerprint, fingerprint, fingerprint_of_grey

from .seen import SeenFiles, file_state, seen_files
from .store import ImageEntry, check_name

FINGERPRINT_SIZE = 224
MOST_KNOWN = 1_000_000  # files in the table of inspections, about 1.4 kB each
_BY = f"lmedge {__version__}, OpenCV {cv2.__version__}, Pillow {PIL.__version__}"
BORDER_RANGE = 6  # grey levels a border may vary by, in each channel
MIN_BORDER = 0.02  # of the height or width
GREY = 128  # what libjpeg's missing blocks decode to, all channels alike
MIN_GREY_SHARE = 0.05  # of the rows
# A marker that ends entropy-coded data: neither a stuffed zero, nor a restart, nor fill bytes.
_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
_SCAN, _END = 0xDA, 0xD9
_ALONE = {0x01, 0xD8}  # markers without a length
Border = tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Inspected:
    """The facts about one image file.

    Attributes:
        image: the path and the labels.
        part: "train", "val", "test", or None if DATA has no parts.
        name: the path relative to DATA.
        sha256: of the file, "" if it cannot be read.
        kind: "JPEG", "PNG", ..., None for no known format.
        size: (width, height) in pixels as stored.
        problem: ("unreadable" or "truncated", the reason), None for a whole image.
        fingerprint: for every image that decodes.
        border: the even borders, for every image that decodes.
        quantization: a short name of a JPEG's tables.
    """

    image: LabelledImage
    part: str | None
    name: str
    sha256: str = ""
    kind: str | None = None
    size: tuple[int, int] | None = None
    problem: tuple[str, str] | None = None
    fingerprint: ImageFingerprint | None = None
    border: Border = ()
    quantization: str | None = None

    @property
    def usable(self) -> bool:
        """True if the image decodes, so that training reads it."""
        return self.fingerprint is not None

    @property
    def entry(self) -> ImageEntry:
        """The image as an entry of the training data."""
        return ImageEntry(self.image, self.sha256)


def inspect_images(
    images: Sequence[tuple[str | None, LabelledImage]], data: Path
) -> list[Inspected]:
    """Read every image once; `images` come with their part, names are relative to `data`.

    A whole image that an earlier call has read, and that has not changed, is not read again.
    """
    with (
        counting_decoder_noise(),
        progress("Reading images", len(images)) as advance,
        seen_files("inspected", MOST_KNOWN) as known,
    ):
        found = []
        inspect = functools.partial(_known_or_read, data=data, known=known)
        for seen in map_ahead(inspect, images):
            found.append(seen)
            advance()
    return found


def _known_or_read(
    item: tuple[str | None, LabelledImage], data: Path, known: SeenFiles
) -> Inspected:
    """Return the facts about an image, from the table if they are there."""
    part, image = item
    state = file_state(image.path)
    packed = None if state is None else known.known(image.path, state)
    if packed is not None:
        bare = Inspected(image=image, part=part, name=relative_name(image.path, data))
        if (remembered := _unpacked(bare, packed)) is not None:
            return remembered
    seen = _inspect(image, part, data)
    whole = seen.problem is None and seen.fingerprint is not None
    if whole and state is not None and state == file_state(image.path):
        known.keep(image.path, state, _packed(seen))
    return seen


def _packed(seen: Inspected) -> bytes:
    """Return what the table holds: a line of JSON, then the grey thumbnail."""
    assert seen.fingerprint is not None
    facts = {
        "by": _BY,
        "sha256": seen.sha256,
        "kind": seen.kind,
        "size": seen.size,
        "border": seen.border,
        "quantization": seen.quantization,
    }
    return json.dumps(facts).encode() + b"\n" + seen.fingerprint.grey.tobytes()


def _unpacked(bare: Inspected, packed: bytes) -> Inspected | None:
    """Add the facts of `_packed` to an image; None if other versions found them."""
    line, _, grey = packed.partition(b"\n")
    try:
        facts = json.loads(line)
        if facts.pop("by") != _BY:
            return None
        thumbnail = np.frombuffer(grey, np.uint8).reshape(DETAIL, DETAIL)
        width, height = facts.pop("size")
        return dataclasses.replace(
            bare,
            size=(width, height),
            border=tuple(facts.pop("border")),
            fingerprint=fingerprint_of_grey(thumbnail),
            **facts,
        )
    except (ValueError, KeyError, TypeError, AttributeError):  # a damaged table
        return None


def _inspect(image: LabelledImage, part: str | None, data: Path) -> Inspected:
    seen = Inspected(image=image, part=part, name=relative_name(image.path, data))
    try:
        check_name(image.path)
        encoded = read_encoded(image.path)
    except DataError as error:
        return dataclasses.replace(seen, problem=("unreadable", _reason(error, image.path)))
    kind = kind_of(encoded)
    seen = dataclasses.replace(seen, sha256=hashlib.sha256(encoded).hexdigest(), kind=kind)
    if kind is None or kind not in SUFFIXES_OF:
        why = f"{kind}, not a {READ} image" if kind else "not an image"
        return dataclasses.replace(seen, problem=("unreadable", why if encoded else "empty file"))
    if end_is_missing(encoded, kind):
        seen = dataclasses.replace(seen, problem=("truncated", "its end is missing"))
    try:
        size = read_size(encoded, str(image.path))
        decoded = decode_image(encoded, str(image.path))
    except DataError as error:
        trouble = seen.problem or ("unreadable", _reason(error, image.path))
        return dataclasses.replace(seen, problem=trouble)
    if seen.problem is None and ends_grey(decoded, kind):
        trouble = ("truncated", "its lower part is the even grey of missing data")
        seen = dataclasses.replace(seen, problem=trouble)
    return dataclasses.replace(
        seen,
        size=size,
        fingerprint=fingerprint(prepare(decoded, FINGERPRINT_SIZE, Resize.SQUASH)),
        border=border_of(decoded),
        quantization=quantization_of(encoded, kind),
    )


def _reason(error: DataError, path: Path) -> str:
    """Return the problem in a message: the words between the file's name and what to do."""
    shown = os.fsencode(path).decode("utf-8", "replace")
    text = str(error).removeprefix(str(path)).removeprefix(shown).removeprefix(": ")
    return text.split(";")[0]


def border_of(image: RgbImage) -> Border:
    """Return the sides with an even border, each with its colour, such as "top black".

    image: (H, W, 3) uint8 RGB. A border is at least MIN_BORDER of the height or width, two pixels
    at least, and varies by at most BORDER_RANGE in each channel. Colours: black, white, coloured.
    """
    turned = image.transpose(1, 0, 2)
    sides = {
        "top": image,
        "bottom": image[::-1],
        "left": turned,
        "right": turned[::-1],
    }
    found = []
    for side, rows in sides.items():
        strip = rows[: max(2, round(MIN_BORDER * len(rows)))]
        low, high = strip.min((0, 1)), strip.max((0, 1))
        if (high.astype(int) - low <= BORDER_RANGE).all():
            found.append(f"{side} {_colour(low)}")
    return tuple(found)


def _colour(low: npt.NDArray[np.uint8]) -> str:
    if (low <= 12).all():
        return "black"
    return "white" if (low >= 240).all() else "coloured"


def end_is_missing(encoded: bytes, kind: str) -> bool:
    """Return true if a file of a known kind stops before its end."""
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
    """Return true if the last rows of a JPEG are the even grey of missing blocks.

    A truncated file has them after a program saved it again or closed it with an end marker.
    image: (H, W, 3) uint8 RGB. An image that begins grey as well is not meant, and an image that
    EXIF turns is not recognised.
    """
    if kind != "JPEG" or (image[0] == GREY).all():
        return False
    rows = max(8, round(MIN_GREY_SHARE * len(image)))
    tail = image[-rows:].astype(np.int16)
    return len(image) > rows and bool((np.abs(tail - GREY) <= 1).all())


def quantization_of(encoded: bytes, kind: str) -> str | None:
    """Return a short name of a JPEG's quantization tables, which depend on the program."""
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
