"""Findings about classes: names, numbers, and numbers for the split."""

from __future__ import annotations

import statistics
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from .findings import Finding
from .inspection import Inspected
from .similar import Pairs, groups_of

IMBALANCE = 4  # times the median


def name_findings(seen: Sequence[Inspected]) -> Iterator[Finding]:
    """Yield landmarks under two categories, and landmarks whose names are nearly the same."""
    categories: dict[str, dict[str, str]] = defaultdict(dict)
    alike: dict[str, set[str]] = defaultdict(set)
    for one in seen:
        landmark = one.image.landmark
        categories[landmark].setdefault(one.image.category, one.name)
        alike[_plain(landmark)].add(landmark)
    for landmark, examples in sorted(categories.items()):
        if len(examples) > 1:
            message = f"{landmark}: under {' and '.join(sorted(examples))}"
            yield Finding("two-categories", message, tuple(examples.values()), (landmark,))
    for names in sorted(map(sorted, alike.values())):
        if len(names) > 1:
            shown = " and ".join(map(repr, names))
            yield Finding("similar-names", f"{shown} are nearly the same name", (), tuple(names))


def _plain(name: str) -> str:
    """Return a name's letters and digits alone, in one case and without accents."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", name).casefold() if c.isalnum())
    return letters or name


def size_findings(
    seen: Sequence[Inspected], pairs: Pairs, fractions: Mapping[str, float]
) -> Iterator[Finding]:
    """Yield classes that are too small for the split, and classes far from the median.

    fractions: of the parts that are cut where they are not given, "val" and "test". Near-duplicates
    stay on one side and so count as one image.
    """
    given = {one.part for one in seen if one.part is not None}
    cut = _parts_to_cut(given, fractions)
    different = _count_different(seen, pairs)
    landmarks = sorted({one.image.landmark for one in seen})
    training = {name: different[name, "train" if given else None] for name in landmarks}
    for name, count in training.items():
        needed = 1 + len(cut)
        if count < needed:
            parts = " and ".join(["training", *cut])
            yield _too_small(f"{name}: {count} different images for {parts}", name)
        for part in sorted(given - {"train"}):
            if count and not different[name, part]:
                yield _too_small(f"{name}: no image in the {part} part", name)
    yield from _imbalance(training)


def _parts_to_cut(given: set[str], fractions: Mapping[str, float]) -> list[str]:
    """Return what `make_split` cuts; see there."""
    cut = [part for part, share in fractions.items() if part not in given and share > 0]
    return [part for part in cut if part != "test" or not given & {"val", "test"}]


def _count_different(seen: Sequence[Inspected], pairs: Pairs) -> Counter[tuple[str, str | None]]:
    places = [(one.image.landmark, one.part) for one in seen]
    inside = [(i, j) for i, j in pairs if places[i] == places[j]]
    counts: Counter[tuple[str, str | None]] = Counter()
    for group in groups_of(len(seen), inside):
        if any(seen[index].usable for index in group):
            counts[places[group[0]]] += 1
    return counts


def _too_small(message: str, landmark: str) -> Finding:
    return Finding("too-small", message, (), (landmark,))


def _imbalance(training: Mapping[str, int]) -> Iterator[Finding]:
    median = statistics.median(training.values()) if training else 0
    for name, count in training.items():
        if count > IMBALANCE * median or 0 < count < median / IMBALANCE:
            message = f"{name}: {count} images, the median is {median:g}"
            yield Finding("imbalance", message, (), (name,))
