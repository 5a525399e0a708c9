"""The share of each worker: the images that it alone reads, decodes, keeps and validates.

The names of an image give its worker, the same in every part and every step. So an image is decoded
by one worker alone, and a batch holds the images that it holds on one device. The shares of a batch
differ in length; `fitting/replicas.py` fills them up.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lmedge.evaluation.folders import LabelledImage
from lmedge.text_files import nfc

from .team import Team, team

T = TypeVar("T")
_SIZES = struct.Struct("<Q")
Places = npt.NDArray[np.int64]


def gather(workers: Team, payload: bytes) -> list[bytes]:
    """Return the bytes of every worker, in their order; all must call it in step."""
    packed = workers.exchange(payload, _pack)
    found, place = [], 0
    while place < len(packed):
        (size,) = _SIZES.unpack_from(packed, place)
        place += _SIZES.size
        found.append(packed[place : place + size])
        place += size
    return found


def _pack(parts: Sequence[bytes]) -> bytes:
    return b"".join(_SIZES.pack(len(part)) + part for part in parts)


def owner_of(image: LabelledImage, size: int) -> int:
    """Return which of `size` workers an image belongs to."""
    name = nfc(f"{image.category}/{image.landmark}/{image.path.name}")
    return zlib.crc32(name.encode(errors="surrogateescape")) % size


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageShares:
    """The shares of N images among the workers; without other workers one share of all.

    Attributes:
        owners: the number of the worker of each image, (N,).
        number: that of this worker.
        size: the number of workers.
    """

    owners: Places
    number: int = 0
    size: int = 1

    @classmethod
    def of(cls, images: Sequence[LabelledImage]) -> ImageShares:
        """Return the shares of images among the workers of this training."""
        workers = team()
        if workers is None:
            return cls(owners=np.zeros(len(images), np.int64))
        owners = [owner_of(image, workers.size) for image in images]
        return cls(owners=np.asarray(owners, np.int64), number=workers.number, size=workers.size)

    @functools.cached_property
    def own(self) -> Places:
        """The places of this worker's images, in their order."""
        return np.flatnonzero(self.owners == self.number)

    @functools.cached_property
    def rows(self) -> Places:
        """The row of each image among this worker's own, (N,); -1 for an image of another."""
        found = np.full(len(self.owners), -1, np.int64)
        found[self.own] = np.arange(len(self.own))
        return found

    def chosen(self, items: Sequence[T]) -> list[T]:
        """Return this worker's own of N items."""
        return [items[place] for place in self.own.tolist()]

    @property
    def key(self) -> str:
        """What a file of this worker's share depends on besides the images; empty for all."""
        return f"\nshare {self.number} of {self.size}" if self.size > 1 else ""

    def merged(self, own: Sequence[Any]) -> list[Any]:
        """Return values of JSON for all images from those that each worker has for its own."""
        workers = team()
        if workers is None:
            return list(own)
        parts = [iter(json.loads(one)) for one in gather(workers, json.dumps(own).encode())]
        return [next(parts[owner]) for owner in self.owners.tolist()]

    def whole(self, own: npt.NDArray[Any], copies: int = 1) -> npt.NDArray[Any]:
        """Return the rows of all images from the rows that each worker has for its own.

        Args:
            own: (copies * own images, ...), one set of copies after another.
            copies: how often each image occurs.

        Returns:
            (copies * N, ...) in the order of the images, the same on all workers.
        """
        workers = team()
        if workers is None:
            return own
        shape = own.shape[1:]
        found = np.zeros((copies, len(self.owners), *shape), own.dtype)
        for number, packed in enumerate(gather(workers, np.ascontiguousarray(own).tobytes())):
            rows = np.frombuffer(packed, own.dtype).reshape(copies, -1, *shape)
            found[:, self.owners == number] = rows
        return found.reshape(-1, *shape)


def whole_outputs(
    sharing: ImageShares, own: Mapping[str, npt.NDArray[np.float32]]
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the outputs for all images by name, from those for this worker's own."""
    return {name: np.asarray(sharing.whole(values), np.float32) for name, values in own.items()}


def summed(array: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the sum of the arrays of all workers, the same on each; alone, the array itself."""
    workers = team()
    if workers is None:
        return array

    def add(parts: Sequence[bytes]) -> bytes:
        total = np.zeros(array.size)
        for part in parts:  # in the order of the workers
            total += np.frombuffer(part)
        return total.tobytes()

    whole = workers.exchange(np.ascontiguousarray(array, np.float64).tobytes(), add)
    return np.frombuffer(whole).reshape(array.shape).copy()
