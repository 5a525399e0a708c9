"""Landmarks, categories, and the category of each landmark."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from .errors import DataError

LEAST_LANDMARKS = 2
_REFUSED = {"Cc": "a control character", "Zl": "a line separator", "Zp": "a line separator"}


def label_problem(name: str) -> str | None:
    """Return why a name cannot be a label, None if it can: the one list of rules for all commands.

    A folder made by a script with CR LF line ends has a carriage return at its end, for example.
    """
    if not name.strip():
        return "it is empty"
    found = next((c for c in name if unicodedata.category(c) in _REFUSED), None)
    if found is not None:
        return f"it holds {_REFUSED[unicodedata.category(found)]} (U+{ord(found):04X})"
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "it is not valid UTF-8"
    return None


def counted(count: int, one: str, many: str) -> str:
    """Return "1 category" or "3 categories"."""
    return f"{count} {one if count == 1 else many}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Taxonomy:
    """Two levels of labels. A category and a landmark may share a name; two landmarks may not.

    Attributes:
        landmarks: Names of the L landmarks.
        categories: Names of the C categories.
        parents: Index of the category of each landmark.

    Raises:
        DataError: A name is empty or stands twice, or a category has no landmark.
    """

    landmarks: tuple[str, ...]
    categories: tuple[str, ...]
    parents: tuple[int, ...]

    def __post_init__(self) -> None:
        for kind, names in (("landmark", self.landmarks), ("category", self.categories)):
            if len(set(names)) != len(names):
                raise DataError(f"a {kind} is named twice; rename one of the two")
            for name in names:
                problem = label_problem(name)
                if problem is not None:
                    raise DataError(
                        f"{name!r} cannot be the name of a {kind}, {problem}; rename it"
                    )
        if len(self.landmarks) < LEAST_LANDMARKS:
            raise DataError("at least two landmarks are needed; add the folder of another one")
        if len(self.parents) != len(self.landmarks):
            raise DataError("every landmark needs exactly one category")
        if set(self.parents) != set(range(len(self.categories))):
            raise DataError("every category needs at least one landmark")

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[str, str]]) -> Taxonomy:
        """Build from (category, landmark) pairs in any order; names are sorted.

        Raises:
            DataError: A landmark stands under two categories.
        """
        category_of: dict[str, str] = {}
        for category, landmark in pairs:
            known = category_of.setdefault(landmark, category)
            if known != category:
                raise DataError(
                    f"landmark {landmark!r} stands under two categories, {known!r} and "
                    f"{category!r}; keep one of them or rename it"
                )
        landmarks = tuple(sorted(category_of))
        categories = tuple(sorted(set(category_of.values())))
        parents = tuple(categories.index(category_of[name]) for name in landmarks)
        return cls(landmarks=landmarks, categories=categories, parents=parents)

    @property
    def parent_index(self) -> npt.NDArray[np.intp]:
        """(L,) index of each landmark's category."""
        return np.asarray(self.parents, np.intp)

    def category_of(self, landmark: str) -> str:
        """Return the name of the category of `landmark`."""
        return self.categories[self.parents[self.landmarks.index(landmark)]]

    @property
    def summary(self) -> str:
        """Return "3 landmarks in 1 category", for people."""
        categories = counted(len(self.categories), "category", "categories")
        return f"{len(self.landmarks)} landmarks in {categories}"

    def hierarchy(self) -> dict[str, str]:
        """Return landmark -> category, in the order of the landmarks."""
        return {name: self.category_of(name) for name in self.landmarks}
