"""Near-duplicates: copies in disguise are found, other images of the same layout are not."""

from __future__ import annotations

import numpy as np
import pytest

from lmedge.image import Resize, prepare, read_image
from lmedge.similar import fingerprint, groups_of, is_alike, pairs_alike
from lmedge.train import demo as drawings
from tests import small_run
from tests.locations import PHOTOGRAPHS, needs
from tests.train.data.test_split import disguises


def test_the_same_layout_is_not_the_same_image() -> None:
    """Monuments of one kind, each drawn anew: some have the layout of another, none is a copy."""
    rngs = [np.random.default_rng(seed) for seed in range(150)]
    fingerprints = [
        fingerprint(
            prepare(drawings.draw_monument("stepped_pyramid", rng, (192, 160)), 224, Resize.SQUASH)
        )
        for rng in rngs
    ]
    assert pairs_alike(fingerprints)
    assert pairs_alike(fingerprints, details=True) == []


def test_many_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprints = [
        fingerprint(small_run.draw((90, 90, 90), seed % 11, (64, 64))) for seed in range(33)
    ]
    whole = pairs_alike(fingerprints, details=True)
    assert whole == [(i, j) for i in range(33) for j in range(i + 1, 33) if (j - i) % 11 == 0]
    monkeypatch.setattr("lmedge.similar.CHUNK", 5)
    assert pairs_alike(fingerprints, details=True) == whole


def test_groups() -> None:
    assert groups_of(0, []) == []
    assert groups_of(3, []) == [[0], [1], [2]]
    assert groups_of(6, [(1, 4), (4, 5), (0, 3)]) == [[0, 3], [1, 4, 5], [2]]


@needs(PHOTOGRAPHS)
def test_disguises_have_the_same_details() -> None:
    for path in sorted(PHOTOGRAPHS.glob("*/*/*.jpg"))[::40]:
        original = read_image(path)
        images = [original, *disguises(original).values()]
        fingerprints = [
            fingerprint(prepare(np.ascontiguousarray(one), 224, Resize.SQUASH)) for one in images
        ]
        found = pairs_alike(fingerprints, details=True)
        assert {(0, other) for other in range(1, len(fingerprints))} <= set(found), path


def test_one_against_many_is_as_each_pair() -> None:
    fingerprints = [
        fingerprint(small_run.draw((90, 90, 90), seed % 5, (64, 64))) for seed in range(12)
    ]
    mirrored = fingerprint(np.ascontiguousarray(small_run.draw((90, 90, 90), 3, (64, 64))[:, ::-1]))
    others = [one for index, one in enumerate(fingerprints) if index % 5 != 3]
    signs = np.where(np.stack([one.bits for one in fingerprints]), 1, -1).astype(np.float32)
    rest = np.where(np.stack([one.bits for one in others]), 1, -1).astype(np.float32)
    assert is_alike(mirrored, fingerprints, signs) and not is_alike(mirrored, others, rest)
    assert not is_alike(mirrored, [], np.empty((4, 64), np.float32))
