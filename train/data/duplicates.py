"""Findings about images that are the same, or nearly, and stand in two places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from .findings import Finding
from .inspection import Inspected
from .similar import Pairs, groups_of, pairs_alike

_RANK = {"test": 2, "val": 1, "train": 0, None: 0}  # where a copy is worth most


def same_images(seen: Sequence[Inspected]) -> Pairs:
    """Return the pairs (i, j), i < j, of files with the same bytes or near-duplicate images."""
    usable = [index for index, one in enumerate(seen) if one.look is not None]
    looks = [one.look for one in seen if one.look is not None]
    pairs = {(usable[i], usable[j]) for i, j in pairs_alike(looks, details=True)}
    first: dict[str, int] = {}
    for index, one in enumerate(seen):
        if one.sha256:  # images of one colour have no look to compare, but may be the same file
            known = first.setdefault(one.sha256, index)
            if known != index:
                pairs.add((known, index))
    return sorted(pairs)


def duplicate_findings(seen: Sequence[Inspected], pairs: Pairs) -> Iterator[Finding]:
    """Yield the groups of same images: under two landmarks, in two parts, or in one class."""

    def groups(of: Callable[[Inspected, Inspected], bool]) -> Iterator[list[Inspected]]:
        kept = [(i, j) for i, j in pairs if of(seen[i], seen[j])]
        for group in groups_of(len(seen), kept):
            if len(group) > 1:
                yield [seen[index] for index in group]

    for group in groups(lambda a, b: a.image.landmark != b.image.landmark):
        yield _finding("two-landmarks", group, exclude=group)
    for group in groups(lambda a, b: a.part != b.part):
        best = max(_RANK[one.part] for one in group)
        yield _finding("leak", group, exclude=[o for o in group if _RANK[o.part] < best])
    for group in groups(lambda a, b: (a.part, a.image.landmark) == (b.part, b.image.landmark)):
        largest = max(group, key=_worth)
        yield _finding("duplicate", group, exclude=[one for one in group if one is not largest])


def _worth(one: Inspected) -> tuple[bool, int, str]:
    width, height = one.size or (0, 0)
    return one.problem is None, width * height, one.name


def _finding(kind: str, group: list[Inspected], exclude: list[Inspected]) -> Finding:
    landmarks = sorted({one.image.landmark for one in group})
    where = {"two-landmarks": " and ".join(landmarks), "leak": _parts(group)}.get(
        kind, landmarks[0]
    )
    identical = len({one.sha256 for one in group}) == 1
    what = f"the same file {len(group)} times" if identical else f"{len(group)} near-duplicates"
    names = tuple(one.name for one in group)
    message = f"{where}: {what}: {', '.join(names)}"
    return Finding(kind, message, names, tuple(landmarks), tuple(one.name for one in exclude))


def _parts(group: list[Inspected]) -> str:
    return " and ".join(
        sorted({one.part or "" for one in group}, key=lambda part: _RANK.get(part, 0))
    )
