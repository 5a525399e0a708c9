"""Near-duplicates: images of the same photograph, or nearly.

Two images are alike if their 64-bit perceptual hashes differ in at most MAX_HASH_DISTANCE bits and
their grey thumbnails correlate. One of the two may be mirrored.

That is right for keeping images on one side of a split, because a pair too many costs nothing
there. Two towers before a plain sky pass it as well, so that a finding needs equal details too.
Measured on 109 photographs and copies of them (halved, cut by 1.5 %, mirrored, darker, JPEG quality
30) the details correlate 0.85 or more; on drawings that pass the first test without being copies,
0.61 at most, and on other photographs that pass it at 12 bits and 0.85, 0.46. Plain silhouettes of
one shape, size and place are still taken for one image.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence

import cv2
import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lmedge.image import RgbImage
from lmedge.progress import progress

from .store import ImageEntry, ImageStore

MAX_HASH_DISTANCE = 8  # of 64 bits
MIN_CORRELATION = 0.93  # of 16 x 16 grey thumbnails: what the hash suggests must look alike
MIN_DETAIL = 0.75  # correlation of the details of 32 x 32 grey thumbnails
THUMBNAIL, DETAIL = 16, 32
BLUR = 2.0  # standard deviation, in pixels of DETAIL, of what is taken off to leave the details
CHUNK = 512  # rows of the comparison in memory at once: 512 x N float32
Pairs = list[tuple[int, int]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFingerprint:
    """Hashes of an image and of its mirror image, (64,) bool each, and its grey thumbnails.

    thumbnail: (16, 16) float32; detail: (32, 32) float32, less its blur. Both without their mean
    and of length 1, or 0 for an image of one colour.
    """

    bits: npt.NDArray[np.bool_]
    mirrored_bits: npt.NDArray[np.bool_]
    thumbnail: npt.NDArray[np.float32]
    detail: npt.NDArray[np.float32]


def fingerprint(image: RgbImage) -> ImageFingerprint:
    """Return the fingerprint of a (H, W, 3) uint8 RGB image."""
    whole = Image.fromarray(image)
    mirror = Image.fromarray(np.ascontiguousarray(image[:, ::-1]))
    fine = _grey(whole, DETAIL)
    return ImageFingerprint(
        bits=imagehash.phash(whole).hash.ravel(),
        mirrored_bits=imagehash.phash(mirror).hash.ravel(),
        thumbnail=_unit(_grey(whole, THUMBNAIL)),
        detail=_unit(fine - cv2.GaussianBlur(fine, (0, 0), BLUR).astype(np.float32, copy=False)),
    )


def _grey(image: Image.Image, side: int) -> npt.NDArray[np.float32]:
    small = image.convert("L").resize((side, side), Image.Resampling.BOX)
    return np.asarray(small, np.float32)


def _unit(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    centred = values - values.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-9), np.float32)


def fingerprint_all(
    entries: Sequence[ImageEntry], store: ImageStore
) -> dict[str, ImageFingerprint]:
    """Return the fingerprint of each prepared image by the SHA-256 of its file."""
    different = list({entry.sha256: entry for entry in entries}.values())
    with (
        progress("Comparing images", len(different)) as advance,
        concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool,
    ):
        fingerprints: dict[str, ImageFingerprint] = {}
        found = pool.map(lambda entry: fingerprint(store.prepared(entry)), different)
        for entry, seen in zip(different, found, strict=True):
            fingerprints[entry.sha256] = seen
            advance()
    return fingerprints


def pairs_alike(fingerprints: Sequence[ImageFingerprint], *, details: bool = False) -> Pairs:
    """Return the pairs (i, j), i < j, that are alike, in their details too if asked for, sorted.

    Memory grows with the number of fingerprints, time with its square: 20,000
    images take some 6 seconds of one core and 300 MB.
    """
    if not fingerprints:
        return []
    plain, mirrored = (
        np.where(
            np.stack([getattr(fingerprint, name) for fingerprint in fingerprints]), 1, -1
        ).astype(np.float32)
        for name in ("bits", "mirrored_bits")
    )
    found: set[tuple[int, int]] = set()
    for other, step in ((plain, 1), (mirrored, -1)):
        for i, j in _close(plain, other):
            if i != j and _same(fingerprints[i], fingerprints[j], step, details):
                found.add((min(i, j), max(i, j)))
    return sorted(found)


def _same(one: ImageFingerprint, other: ImageFingerprint, step: int, details: bool) -> bool:
    """Compare the thumbnails; `step` is -1 for the other's mirror image."""
    if np.sum(one.thumbnail * other.thumbnail[:, ::step]) < MIN_CORRELATION:
        return False
    return not details or bool(np.sum(one.detail * other.detail[:, ::step]) >= MIN_DETAIL)


def _close(
    left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]
) -> Iterator[tuple[int, int]]:
    """Yield the rows of two (N, 64) arrays of signs that differ in few places."""
    for start in range(0, len(left), CHUNK):
        products = left[start : start + CHUNK] @ right.T  # 64 - 2 x the bits that differ
        rows, columns = np.nonzero(products >= 64 - 2 * MAX_HASH_DISTANCE)
        yield from zip((rows + start).tolist(), columns.tolist(), strict=True)


def groups_of(count: int, pairs: Pairs) -> list[list[int]]:
    """Return 0..count-1 in groups connected by `pairs`, by their first member, single ones too."""
    if not count:
        return []
    rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
    graph = coo_matrix((np.ones(len(pairs), bool), (rows, columns)), (count, count))
    _, numbers = connected_components(graph, directed=False)
    groups: dict[int, list[int]] = {}
    for index, number in enumerate(numbers.tolist()):
        groups.setdefault(number, []).append(index)
    return list(groups.values())


def near_duplicates(
    entries: Sequence[ImageEntry],
    store: ImageStore,
    fingerprints: Mapping[str, ImageFingerprint] | None = None,
) -> list[list[ImageEntry]]:
    """Group the entries: the same photograph, or nearly, in one group. Order is stable."""
    fingerprints = fingerprints or {
        entry.sha256: fingerprint(store.prepared(entry)) for entry in entries
    }
    pairs = pairs_alike([fingerprints[entry.sha256] for entry in entries])
    return [[entries[index] for index in group] for group in groups_of(len(entries), pairs)]
