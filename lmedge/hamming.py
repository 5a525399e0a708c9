"""Pairs of 64-bit hashes that differ in few bits, without comparing all pairs.

A hash is cut into three bands. Two hashes that differ in at most 8 bits differ in at most 2 bits of
one band at least (Norouzi, Punjani and Fleet, arXiv:1307.2982). So for each band and each change of
up to 2 bits, the hashes that have exactly that band are looked up in a table.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

MOST = 8  # differing bits; three bands and changes of two bits reach no further
BANDS = ((0, 21), (21, 21), (42, 22))  # first bit and width
INDEXED = 3000  # hashes from which the tables are faster than a product of all pairs
ROWS = 1 << 14  # hashes that are looked up at once
PAIRS = 1 << 21  # pairs that are compared at once, about
_CHANGED = 2  # bits of a band
Words = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


def pack_bits(bits: npt.NDArray[np.bool_]) -> Words:
    """Return (N, 64) bits as (N,) words."""
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64).reshape(len(bits))


def close_pairs(left: Words, right: Words) -> Iterator[tuple[Places, Places]]:
    """Yield places (i, j) in blocks, every pair once, with at most MOST differing bits.

    Args:
        left: (N,) hashes.
        right: (M,) hashes.
    """
    if len(left) < INDEXED:
        yield from _all_pairs(left, right)
        return
    for band in range(len(BANDS)):
        yield from _pairs_of_band(left, right, band)


def bit_counts(words: Words) -> npt.NDArray[np.uint8]:
    """Return the number of set bits of each word (Warren, Hacker's Delight, 5-1)."""
    pairs, fours = np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
    words = words - ((words >> np.uint64(1)) & np.uint64(0x5555555555555555))
    words = (words & pairs) + ((words >> np.uint64(2)) & pairs)
    words = (words + (words >> np.uint64(4))) & fours
    return ((words * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.uint8)


def _all_pairs(left: Words, right: Words) -> Iterator[tuple[Places, Places]]:
    rows = max(1, PAIRS // max(1, len(right)))
    for start in range(0, len(left), rows):
        different = bit_counts(left[start : start + rows, None] ^ right[None])
        found, columns = np.nonzero(different <= MOST)
        yield found + start, columns


def _pairs_of_band(left: Words, right: Words, band: int) -> Iterator[tuple[Places, Places]]:
    """Yield the pairs that differ in few bits of a band, and in more of each band before it."""
    width = BANDS[band][1]
    keys, order, starts = _band(left, band), *_table(_band(right, band), width)
    for change in _changes(width):
        for start in range(0, len(left), ROWS):
            rows = np.arange(start, min(start + ROWS, len(left)))
            wanted = keys[rows] ^ change
            begin, count = starts[wanted], starts[wanted + 1] - starts[wanted]
            for some in _blocks(count):
                i, j = _expanded(rows[some], begin[some], count[some], order)
                kept = bit_counts(left[i] ^ right[j]) <= MOST
                i, j = i[kept], j[kept]
                for earlier in range(band):
                    lower = _band(left[i] ^ right[j], earlier).astype(np.uint64)
                    kept = bit_counts(lower) > _CHANGED
                    i, j = i[kept], j[kept]
                if len(i):
                    yield i, j


def _band(words: Words, band: int) -> Places:
    first, width = BANDS[band]
    mask = np.uint64((1 << width) - 1)
    return ((words >> np.uint64(first)) & mask).astype(np.int64)


def _table(keys: Places, width: int) -> tuple[Places, Places]:
    """Return the places sorted by key, and the start of each key among them."""
    counts = np.bincount(keys, minlength=1 << width)
    return np.argsort(keys, kind="stable"), np.concatenate([[0], np.cumsum(counts)])


def _changes(width: int) -> Iterator[int]:
    for number in range(_CHANGED + 1):
        for bits in itertools.combinations(range(width), number):
            yield sum(1 << bit for bit in bits)


def _blocks(count: Places) -> Iterator[Places]:
    """Yield the rows that have pairs, in blocks of about PAIRS pairs."""
    rows = np.flatnonzero(count)
    block = np.cumsum(count[rows]) // PAIRS
    for number in np.unique(block).tolist():
        yield rows[block == number]


def _expanded(rows: Places, begin: Places, count: Places, order: Places) -> tuple[Places, Places]:
    """Return each row once for each of its `count` places in `order` from `begin` on."""
    first = np.cumsum(count) - count
    inner = np.arange(int(count.sum())) - np.repeat(first, count)
    return np.repeat(rows, count), order[np.repeat(begin, count) + inner]
