"""Close hashes are found by tables as by a comparison of all pairs, each pair once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from lmedge import hamming
from lmedge.hamming import Words, bit_counts, close_pairs, pack_bits


def found(left: Words, right: Words) -> list[tuple[int, int]]:
    def pairs() -> Iterator[tuple[int, int]]:
        for i, j in close_pairs(left, right):
            yield from zip(i.tolist(), j.tolist(), strict=True)

    return sorted(pairs())


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "INDEXED", 0)


def clusters(count: int, seed: int) -> np.ndarray:
    """Return (count, 64) bits around a tenth as many centres, with 0 to 12 bits changed."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (count // 10, 64)).astype(bool)[rng.integers(0, count // 10, count)]
    for row in bits:
        row[rng.choice(64, rng.integers(0, 7), replace=False)] ^= True
    return bits


@pytest.mark.parametrize("pairs_at_once", [7, 1 << 21])
def test_tables_find_what_all_pairs_find(
    tables: None, pairs_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hamming, "PAIRS", pairs_at_once)
    left, right = clusters(120, 0), clusters(90, 0)
    distances = (left[:, None] != right[None]).sum(axis=2)
    wanted = sorted(map(tuple, np.argwhere(distances <= hamming.MOST).tolist()))
    assert len(wanted) > 100
    assert found(pack_bits(left), pack_bits(right)) == wanted
    monkeypatch.setattr(hamming, "INDEXED", 1 << 30)
    assert found(pack_bits(left), pack_bits(right)) == wanted


def test_every_distance_up_to_the_limit_is_found_wherever_the_bits_are(tables: None) -> None:
    rng = np.random.default_rng(1)
    one = np.zeros((1, 64), bool)
    for distance in range(1, 12):
        for _ in range(6):
            other = one.copy()
            other[0, rng.choice(64, distance, replace=False)] = True
            assert bool(found(pack_bits(one), pack_bits(other))) == (distance <= hamming.MOST)


def test_the_time_does_not_grow_with_all_pairs(tables: None) -> None:
    """Hashes of no likeness are hardly compared."""
    words = pack_bits(np.random.default_rng(0).integers(0, 2, (4000, 64)).astype(bool))
    looked_up = 0

    def counting(given: Words) -> np.ndarray:
        nonlocal looked_up
        looked_up += len(given)
        return bit_counts(given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "bit_counts", counting)
        assert found(words, words) == [(place, place) for place in range(4000)]
    assert looked_up < 4000 * 4000 / 100


def test_bits_are_counted() -> None:
    words = np.random.default_rng(0).integers(0, 1 << 63, 200, np.uint64) * np.uint64(2)
    assert bit_counts(words).tolist() == [int(word).bit_count() for word in words.tolist()]
