"""Folds for cross-validation: every image tested once, near-duplicates on one side."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from .similar import Look, near_duplicates
from .split import Split, make_split
from .store import Entry, ImageStore

logger = logging.getLogger(__name__)


def make_folds(
    entries: Sequence[Entry],
    store: ImageStore,
    looks: Mapping[str, Look],
    *,
    folds: int,
    seed: int,
    val_fraction: float,
    val_count: int = 0,
) -> list[Split]:
    """Return one split a fold: the fold is its test part, the rest is cut into the other two.

    Stratified by landmark; near-duplicates of one landmark are in one fold. A landmark without two
    different images is trained on in every fold and tested in none. The test parts depend on
    `folds` and `seed` alone, not on the validation part that is asked for.
    """
    by_landmark = defaultdict(list)
    for entry in entries:
        by_landmark[entry.image.landmark].append(entry)
    tested: list[list[Entry]] = [[] for _ in range(folds)]
    for landmark, own in sorted(by_landmark.items()):
        groups = near_duplicates(own, store, looks)
        if len(groups) < 2:
            logger.warning("%s: too few different images to be tested", landmark)
            continue
        rng = np.random.default_rng([seed, *landmark.encode()])
        rng.shuffle(groups)
        _deal(sorted(groups, key=len, reverse=True), tested)
    splits = []
    for fold in tested:
        inside = set(fold)
        splits.append(
            make_split(
                {"train": [entry for entry in entries if entry not in inside], "test": fold},
                store,
                val_fraction=val_fraction,
                test_fraction=0.0,
                counts={"val": val_count},
                seed=seed,
                looks=looks,
            )
        )
    return splits


def _deal(groups: Sequence[Sequence[Entry]], tested: Sequence[list[Entry]]) -> None:
    """Put each group where this landmark has least so far, and of those where all have least."""
    own = [0] * len(tested)
    for group in groups:
        place = min(range(len(tested)), key=lambda fold: (own[fold], len(tested[fold]), fold))
        tested[place] += group
        own[place] += len(group)
