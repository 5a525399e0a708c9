"""One look at each image file: everything the checks need, none of its pixels kept."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmedge.errors import DataError
from lmedge.evaluation.folders import LabelledImage
from lmedge.image import Resize, RgbImage, decode_image, prepare, read_size
from lmedge.progress import progress

from .completeness import KINDS, end_is_missing, ends_grey, kind_of, quantization_of
from .similar import Look, look
from .store import Entry, check_name, read_file

LOOK_SIZE = 224
BORDER_RANGE = 6  # grey levels a border may vary by, in each channel
MIN_BORDER = 0.02  # of the height or width
Border = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Inspected:
    """What was found out about one image file.

    part: "train", "val", "test", or None where DATA has no parts. sha256: of the file, "" where it
    cannot be read. kind: "JPEG", "PNG", ..., None when it is no known format. size: (width, height)
    as stored. problem: ("unreadable" or "truncated", why), None for an image that is whole. look
    and border are there for every image that decodes.
    """

    image: LabelledImage
    part: str | None
    name: str
    sha256: str = ""
    kind: str | None = None
    size: tuple[int, int] | None = None
    problem: tuple[str, str] | None = None
    look: Look | None = None
    border: Border = ()
    quantization: str | None = None

    @property
    def usable(self) -> bool:
        """Whether training would read it: it decodes."""
        return self.look is not None

    @property
    def entry(self) -> Entry:
        """The image as training knows it."""
        return Entry(self.image, self.sha256)


def inspect_images(
    images: Sequence[tuple[str | None, LabelledImage]], data: Path
) -> list[Inspected]:
    """Read every image once; `images` come with their part, names are relative to `data`."""
    with (
        progress("Reading images", len(images)) as advance,
        concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool,
    ):
        found = []
        for seen in pool.map(lambda item: _inspect(item[1], item[0], data), images):
            found.append(seen)
            advance()
    return found


def relative_name(path: Path, data: Path) -> str:
    """Return the path below `data` with forward slashes, as split.csv and exclude.txt hold it.

    What is no UTF-8 in it, and so cannot stand in those files, is replaced to be shown.
    """
    return os.fsencode(path.relative_to(data).as_posix()).decode("utf-8", "replace")


def _inspect(image: LabelledImage, part: str | None, data: Path) -> Inspected:
    seen = Inspected(image, part, relative_name(image.path, data))
    try:
        check_name(image.path)
        encoded = read_file(image.path)
    except DataError as error:
        return dataclasses.replace(seen, problem=("unreadable", _reason(error, image.path)))
    kind = kind_of(encoded)
    seen = dataclasses.replace(seen, sha256=hashlib.sha256(encoded).hexdigest(), kind=kind)
    if kind not in KINDS:
        why = f"{kind}, not a JPEG, PNG, WebP or BMP image" if kind else "not an image"
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
        look=look(prepare(decoded, LOOK_SIZE, Resize.SQUASH)),
        border=border_of(decoded),
        quantization=quantization_of(encoded, kind),
    )


def _reason(error: DataError, path: Path) -> str:
    """Return what the message says behind the file's name and before what to do."""
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
