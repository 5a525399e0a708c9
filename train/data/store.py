"""Decoded images on disk, so that later epochs and runs do not decode again.

Each image is kept twice, under the SHA-256 of its file. One copy is prepared as on the device, for
features and scores; the other has the working size, for random views. The cache is bounded and
drops the files that were used longest ago. It may be deleted at any time. On a full or read-only
disk, images are decoded whenever they are used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from lmedge.decoder_noise import counting_decoder_noise
from lmedge.errors import DataError, LmedgeError
from lmedge.evaluation.folders import LabelledImage
from lmedge.files import cache_folder, write_bytes
from lmedge.image import (
    Resize,
    RgbImage,
    decode_image,
    decoding_scale,
    prepare,
    read_encoded,
    shrink_short_side,
)
from lmedge.progress import progress
from lmedge.reading import map_ahead

from ..cluster.sharing import ImageShares
from .cache import image_limit, report_unwritten, trim
from .seen import SeenFiles, file_state, seen_files

WORK_SCALE = 8 / 7  # working size over input size: room for a random crop
CACHE_VERSION = 3  # raised with every change of the preprocessing
_SIDES = struct.Struct("<II")  # height, width
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class ImageEntry:
    """A labelled image whose file was read and decodes.

    Attributes:
        image: The image with its labels.
        sha256: Of the file.
        burst: Name of the frames that a camera collected with it; empty for other images.
    """

    image: LabelledImage
    sha256: str
    burst: str = dataclasses.field(default="", compare=False)

    @property
    def order(self) -> tuple[str, str, str]:
        """The key that entries are sorted by."""
        return self.image.category, self.image.landmark, str(self.image.path)


class ImageStore:
    """Prepared and working images of one input size and resize policy."""

    def __init__(
        self, size: int, resize: Resize, folder: Path | None = None, limit: int | None = None
    ) -> None:
        self.size, self.resize = size, resize
        self.limit = image_limit() if limit is None else limit
        self.work_size = math.ceil(size * WORK_SCALE)
        self.folder = folder or cache_folder() / "pictures"
        self._bytes: int | None = None  # about what the cache holds, once it was looked at
        self._counting = threading.Lock()
        self._writable = True

    def admit(self, images: Sequence[LabelledImage]) -> tuple[list[ImageEntry], list[str]]:
        """Read, decode and cache each image; several workers each read their share.

        Returns:
            The images that decode, and a line for each skipped image, which is logged as well.
        """
        entries: list[ImageEntry] = []
        skipped: list[str] = []
        sharing = ImageShares.of(images)
        found = sharing.merged(self._admit_all(sharing.chosen(images)))
        for image, (sha256, problem) in zip(images, found, strict=True):
            if problem:
                logger.warning("skipped %s", problem)
                skipped.append(problem)
            else:
                entries.append(ImageEntry(image, sha256))
        self._trim()
        return entries, skipped

    def _admit_all(self, images: Sequence[LabelledImage]) -> list[tuple[str, str]]:
        """Return the hash of each image, or the line of its problem."""
        found = []
        with (
            counting_decoder_noise(),
            progress("Reading images", len(images)) as advance,
            seen_files() as seen,
        ):
            for result in map_ahead(lambda image: self._admit(image, seen), images):
                advance()
                refused = isinstance(result, DataError)
                found.append(("", str(result)) if refused else (str(result), ""))
        return found

    def prepared(self, entry: ImageEntry) -> RgbImage:
        """Return the image as the device sees it: (S, S, 3) uint8 RGB."""
        return self._load(entry, f"{self.resize.value}{self.size}")

    def working(self, entry: ImageEntry) -> RgbImage:
        """Return the image at working size: (H, W, 3) uint8 RGB, a little larger than S."""
        return self._load(entry, f"{self.resize.value}{self.work_size}-work")

    def prepared_many(self, entries: Sequence[ImageEntry]) -> npt.NDArray[np.uint8]:
        """Return (N, S, S, 3) uint8 RGB."""
        if not entries:
            return np.zeros((0, self.size, self.size, 3), np.uint8)
        return np.stack([self.prepared(entry) for entry in entries])

    def _admit(self, image: LabelledImage, seen: SeenFiles) -> str | DataError:
        try:
            check_name(image.path)
            state = file_state(image.path)
            known = None if state is None else seen.known(image.path, state)
            if known is not None and self._holds(ImageEntry(image, known.hex())):
                return known.hex()
            encoded = read_encoded(image.path)
            sha256 = hashlib.sha256(encoded).hexdigest()
            entry = ImageEntry(image, sha256)
            if not self._holds(entry):
                self._store(entry, encoded)
            if state is not None and state == file_state(image.path):
                seen.keep(image.path, state, bytes.fromhex(sha256))
        except DataError as error:
            return error
        return sha256

    def has_prepared(self, entry: ImageEntry) -> bool:
        """Return true if the cache has the image as the device sees it."""
        return self._file(entry, f"{self.resize.value}{self.size}").exists()

    def _holds(self, entry: ImageEntry) -> bool:
        """Return true if the cache has both copies of an image."""
        kinds = (f"{self.resize.value}{self.size}", f"{self.resize.value}{self.work_size}-work")
        return all(self._file(entry, kind).exists() for kind in kinds)

    def _store(self, entry: ImageEntry, encoded: bytes) -> dict[str, RgbImage]:
        """Make both copies, each decoded at the scale of its side, as on the device."""
        name = str(entry.image.path)
        image = larger = decode_image(encoded, name, self.size)
        scales = {decoding_scale(encoded, name, side) for side in (self.size, self.work_size)}
        if len(scales) > 1:
            larger = decode_image(encoded, name, self.work_size)
        if self.resize is Resize.CROP:
            work = shrink_short_side(larger, self.work_size)
        else:
            work = prepare(larger, self.work_size, self.resize)
        made = {
            f"{self.resize.value}{self.size}": prepare(image, self.size, self.resize),
            f"{self.resize.value}{self.work_size}-work": work,
        }
        self._keep({self._file(entry, kind): array for kind, array in made.items()})
        return made

    def _keep(self, arrays: dict[Path, RgbImage]) -> None:
        """Write arrays into the cache; after the first that it does not take, none is written."""
        if not self._writable:
            return
        try:
            for path, array in arrays.items():
                write_bytes(path, _SIDES.pack(*array.shape[:2]) + array.tobytes())
        except LmedgeError as error:
            with self._counting:
                first, self._writable = self._writable, False
            if first:
                report_unwritten(error)
        else:
            self._count(sum(array.nbytes for array in arrays.values()))

    def _load(self, entry: ImageEntry, kind: str) -> RgbImage:
        path = self._file(entry, kind)
        try:
            array = _unpack(path.read_bytes())
            os.utime(path)  # the cache drops what was used longest ago
        except (OSError, ValueError, struct.error):
            encoded = read_encoded(entry.image.path)
            if hashlib.sha256(encoded).hexdigest() != entry.sha256:
                raise DataError(
                    f"{entry.image.path}: changed since the run began; put it back or train anew"
                ) from None
            array = self._store(entry, encoded)[kind]
        return np.asarray(array, np.uint8)

    def _file(self, entry: ImageEntry, kind: str) -> Path:
        return self.folder / entry.sha256[:2] / f"{entry.sha256}-{kind}-v{CACHE_VERSION}.rgb"

    def _count(self, added: int) -> None:
        """Keep count of the cache, so that its files are listed only when it may be too large."""
        with self._counting:
            if self._bytes is not None:
                self._bytes += added
            if self._bytes is None or self._bytes > self.limit:
                self._trim()

    def _trim(self) -> None:
        self._bytes = trim(self.folder.glob("??/*.rgb"), self.limit)


class PreparedImages:
    """Images as the device sees them, (S, S, 3) uint8 RGB each, read when they are asked for.

    A slice is (N, S, S, 3) uint8, and so is np.asarray of all.
    """

    def __init__(self, store: ImageStore, entries: Sequence[ImageEntry]) -> None:
        self._store, self._entries = store, entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[RgbImage]:
        return (self._store.prepared(entry) for entry in self._entries)

    @overload
    def __getitem__(self, index: int) -> RgbImage: ...

    @overload
    def __getitem__(self, index: slice) -> npt.NDArray[np.uint8]: ...

    def __getitem__(self, index: int | slice) -> npt.NDArray[np.uint8]:
        if isinstance(index, slice):
            return self._store.prepared_many(self._entries[index])
        return self._store.prepared(self._entries[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:], dtype)


def _unpack(packed: bytes) -> RgbImage:
    """Read what `_store` wrote: height and width, then the pixels.

    NumPy's own format is not used: its header goes through Python's parser, which in Python 3.11
    before 3.11.8 fails now and then when two threads parse at once (cpython issue 106905).
    """
    height, width = _SIDES.unpack_from(packed)
    return np.frombuffer(packed, np.uint8, offset=_SIDES.size).reshape(height, width, 3)


def check_name(path: Path) -> None:
    """Refuse a name the run folder's text files cannot hold; old archives leave such names."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "replace")
        raise DataError(f"{shown}: its name is not valid UTF-8; rename it") from None
