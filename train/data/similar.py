"""Near-duplicates among the prepared images of a data set; `lmedge/similar.py` compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lmedge.progress import progress
from lmedge.reading import map_ahead
from lmedge.similar import (
    DETAIL,
    ImageFingerprint,
    fingerprint,
    fingerprint_of_grey,
    grey_thumbnail,
    groups_of,
    pairs_alike,
)

from ..cluster.sharing import ImageShares
from .store import ImageEntry, ImageStore


def fingerprint_all(
    entries: Sequence[ImageEntry], store: ImageStore
) -> dict[str, ImageFingerprint]:
    """Return the fingerprint of each prepared image by the SHA-256 of its file."""
    different = list({entry.sha256: entry for entry in entries}.values())
    sharing = ImageShares.of([entry.image for entry in different])
    own = sharing.chosen(different)
    with progress("Comparing images", len(own)) as advance:
        thumbnails = np.zeros((len(own), DETAIL, DETAIL), np.uint8)
        found = map_ahead(lambda entry: grey_thumbnail(store.prepared(entry)), own)
        for place, thumbnail in enumerate(found):
            thumbnails[place] = thumbnail
            advance()
    every = sharing.whole(thumbnails)
    return {
        entry.sha256: fingerprint_of_grey(thumbnail)
        for entry, thumbnail in zip(different, every, strict=True)
    }


def near_duplicates(
    entries: Sequence[ImageEntry],
    store: ImageStore,
    fingerprints: Mapping[str, ImageFingerprint] | None = None,
) -> list[list[ImageEntry]]:
    """Group the entries: the same photograph, nearly, or of one burst, in one group.

    Order is stable.
    """
    fingerprints = fingerprints or {
        entry.sha256: fingerprint(store.prepared(entry)) for entry in entries
    }
    pairs = pairs_alike([fingerprints[entry.sha256] for entry in entries])
    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if entry.burst and (other := first.setdefault(entry.burst, index)) != index:
            pairs.append((other, index))
    return [[entries[index] for index in group] for group in groups_of(len(entries), pairs)]
