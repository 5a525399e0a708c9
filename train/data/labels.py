"""Findings about the names of landmarks and categories, by the rules of training."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from lmedge.taxonomy import LEAST_LANDMARKS, label_problem

from .findings import DataFinding
from .inspection import Inspected


def name_findings(seen: Sequence[Inspected]) -> Iterator[DataFinding]:
    """Yield what training refuses about names, and names that are nearly the same."""
    categories: dict[str, dict[str, str]] = defaultdict(dict)
    for one in seen:
        categories[one.image.landmark].setdefault(one.image.category, one.name)
    labels = {one.image.category for one in seen}
    for kind, names in (("landmark", set(categories)), ("category", labels)):
        yield from _bad_names(kind, names)
        yield from _similar_names(kind, names)
    for landmark, examples in sorted(categories.items()):
        if len(examples) > 1:
            message = f"{landmark}: under {' and '.join(sorted(examples))}"
            names_there = tuple(examples.values())
            yield DataFinding("two-categories", message, names=names_there, landmarks=(landmark,))
    if 0 < len(categories) < LEAST_LANDMARKS:
        alone = next(iter(categories))
        yield DataFinding("one-landmark", f"{alone}: no other landmark", landmarks=(alone,))


def _bad_names(kind: str, names: Iterable[str]) -> Iterator[DataFinding]:
    for name in sorted(names):
        problem = label_problem(name)
        if problem is not None:
            landmarks = (name,) if kind == "landmark" else ()
            yield DataFinding("bad-name", f"{kind} {name!r}: {problem}", landmarks=landmarks)


def _similar_names(kind: str, names: Iterable[str]) -> Iterator[DataFinding]:
    alike: dict[str, set[str]] = defaultdict(set)
    for name in names:
        alike[_plain(name)].add(name)
    for group in sorted(map(sorted, alike.values())):
        if len(group) > 1:
            message = f"{kind} {' and '.join(map(repr, group))}: nearly the same name"
            landmarks = tuple(group) if kind == "landmark" else ()
            yield DataFinding("similar-names", message, landmarks=landmarks)


def _plain(name: str) -> str:
    """Return a name's letters and digits alone, in one case and without accents."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", name).casefold() if c.isalnum())
    return letters or name
