"""Labelled pictures held against the labels a network knows, by name."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence

from .dataset_folder import LabelledPicture
from .errors import DataError
from .taxonomy import Taxonomy


@dataclasses.dataclass(frozen=True)
class UnknownLandmark:
    """A landmark of the data that the network was not trained on, and its number of pictures."""

    landmark: str
    pictures: int


def split_known(
    taxonomy: Taxonomy, pictures: Iterable[LabelledPicture], knower: str = "the file"
) -> tuple[list[LabelledPicture], tuple[UnknownLandmark, ...]]:
    """Return the pictures whose landmark is in the taxonomy, and the landmarks that are not.

    `knower` is what the taxonomy is of, for messages. Raises DataError when no picture is left or
    a landmark stands in another category.
    """
    known: list[LabelledPicture] = []
    unknown: collections.Counter[str] = collections.Counter()
    hierarchy = taxonomy.hierarchy()
    for picture in pictures:
        category = hierarchy.get(picture.landmark)
        if category is None:
            unknown[picture.landmark] += 1
        elif category != picture.category:
            raise DataError(
                f"{picture.path}: {picture.landmark!r} is in category {picture.category!r} here "
                f"and in {category!r} for {knower}; use the folders it was trained on"
            )
        else:
            known.append(picture)
    if not known:
        raise DataError(
            f"{knower} knows none of the {len(unknown)} landmarks here ({_few(sorted(unknown))}), "
            f"only {_few(taxonomy.landmarks)}; use the folders it was trained on"
        )
    return known, tuple(UnknownLandmark(*item) for item in sorted(unknown.items()))


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
