"""Work on many files in threads, a few ahead."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from lmedge.reading import map_ahead


def test_items_are_taken_as_they_are_needed_and_come_in_their_order() -> None:
    """Of a million files, no task or result is kept but those of a few."""
    taken = []

    def items() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    def slow(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return -number

    found = map_ahead(slow, items(), workers=3)
    assert [next(found) for _ in range(50)] == [-number for number in range(50)]
    assert len(taken) <= 50 + 2 * 3
    found.close()


def test_an_error_comes_at_its_place_and_ends_the_work() -> None:
    done = []

    def work(number: int) -> int:
        done.append(number)
        return 12 // (number - 2)

    found = map_ahead(work, range(1000), workers=1)
    assert [next(found), next(found)] == [-6, -12]
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert len(done) < 10
