"""Near-duplicates among the prepared images of a data set; `lmedge/similar.py` compares them."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Mapping, Sequence

from lmedge.progress import progress
from lmedge.similar import ImageFingerprint, fingerprint, groups_of, pairs_alike

from .store import ImageEntry, ImageStore


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
