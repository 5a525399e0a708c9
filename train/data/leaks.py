"""Leaks: an image in two parts of a split is kept in one if they were cut, otherwise refused."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from lmedge.errors import DataError
from lmedge.evaluation import PARTS
from lmedge.evaluation.names import relative_name
from lmedge.harmless import shell_words
from lmedge.similar import ImageFingerprint, Pairs, groups_of, pairs_alike

from .check import duplicate_findings, size_findings, with_identical
from .findings import DataFinding
from .inspection import Inspected
from .split import Split
from .store import ImageEntry

logger = logging.getLogger(__name__)


class Leaks:
    """The search for images in two parts: every pair of images is compared once."""

    def __init__(
        self,
        entries: Sequence[ImageEntry],
        fingerprints: Mapping[str, ImageFingerprint],
        data: Path,
        *,
        allowed: bool,
        fractions: Mapping[str, float],
    ) -> None:
        """Compare every pair of images.

        Args:
            entries: All images of the data set.
            fingerprints: By the SHA-256 of a file.
            data: The folder of the photographs.
            allowed: If true, an image in two parts is no error.
            fractions: Of each landmark's images, by "val" and "test", for findings about sizes.
        """
        self._fingerprints, self._data = fingerprints, data
        self._allowed, self._fractions = allowed, fractions
        found = pairs_alike([fingerprints[entry.sha256] for entry in entries], details=True)
        self._alike = [(entries[i].image.path, entries[j].image.path) for i, j in found]

    def settle(self, split: Split, given: set[str] | None) -> Split:
        """Keep like images and bursts together if parts but `given` were cut; judge the rest.

        given: the parts that the user made; None for all. Raises DataError for a leak that is
        not allowed.
        """
        if given is not None:
            seen, alike = self._pairs(split)
            split = _keep_together(split, seen, [*alike, *_burst_pairs(split)], given)
        _judge(*self._pairs(split), self._allowed, self._fractions, self._data)
        return split

    def _pairs(self, split: Split) -> tuple[list[Inspected], Pairs]:
        """Return the images of a split, part by part, and the pairs of the same image."""
        seen = [
            Inspected(
                image=entry.image,
                part=part,
                name=relative_name(entry.image.path, self._data),
                sha256=entry.sha256,
                fingerprint=self._fingerprints[entry.sha256],
            )
            for part in PARTS
            for entry in split.parts[part]
        ]
        places = {one.image.path: place for place, one in enumerate(seen)}
        alike = [
            (min(places[one], places[other]), max(places[one], places[other]))
            for one, other in self._alike
            if one in places and other in places
        ]
        return seen, with_identical(seen, alike)


def _burst_pairs(split: Split) -> list[tuple[int, int]]:
    """Return pairs of each burst, by places in the parts, one behind the other.

    Frames of a burst may have been labelled as two landmarks, which are cut apart from each other.
    """
    first: dict[str, int] = {}
    pairs = []
    for place, entry in enumerate(entry for part in PARTS for entry in split.parts[part]):
        if entry.burst and (other := first.setdefault(entry.burst, place)) != place:
            pairs.append((other, place))
    return pairs


def _keep_together(split: Split, seen: list[Inspected], pairs: Pairs, given: set[str]) -> Split:
    """Move images of cut parts to the training part if another part has one of their group.

    The cut keeps the near-duplicates and bursts of one landmark together. These are of two.
    """
    moving: set[Path] = set()
    for group in groups_of(len(seen), pairs):
        if len({seen[index].part for index in group}) > 1:
            cut = [seen[index] for index in group if seen[index].part not in {"train", *given}]
            moving |= {one.image.path for one in cut}
    if not moving:
        return split
    logger.warning(
        "%d images stay in the training part because nearly the same ones, or others of their "
        "burst, are in another part, %s for one",
        len(moving),
        min(moving),
    )
    moved = [e for part in PARTS[1:] for e in split.parts[part] if e.image.path in moving]
    train = sorted([*split.parts["train"], *moved], key=lambda entry: entry.order)
    rest = {
        part: tuple(e for e in split.parts[part] if e.image.path not in moving)
        for part in PARTS[1:]
    }
    return Split({"train": tuple(train), **rest})


def _judge(
    seen: list[Inspected],
    pairs: Pairs,
    allowed: bool,
    fractions: Mapping[str, float],
    data: Path,
) -> None:
    """Warn about what the quick checks found. Raises DataError for a leak that is not allowed."""
    found = list(duplicate_findings(seen, pairs))
    leaks = [finding for finding in found if finding.kind == "leak"]
    if leaks and not allowed:
        raise DataError(
            f"the split leaks: {_count(leaks)} in two parts ({leaks[0].message}); see "
            f"`{shell_words('lmedge', 'data', 'check', data)}`, leave them out with its "
            "--exclude-file, or pass --allow-leak"
        )
    sizes = [f for f in size_findings(seen, pairs, fractions) if f.kind == "imbalance"]
    for kind, what in (("leak", "in two parts"), ("two-landmarks", "under two landmarks")):
        group = [finding for finding in found if finding.kind == kind]
        if group:
            logger.warning("%s %s (%s)", _count(group), what, group[0].message)
    for finding in sizes[:1]:
        logger.warning("%d classes far from the median (%s)", len(sizes), finding.message)


def _count(findings: list[DataFinding]) -> str:
    return "1 image is" if len(findings) == 1 else f"{len(findings)} images are"
