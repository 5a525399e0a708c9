"""The features that a file is taught from: rows of int8 by landmark, in one canonical order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..taxonomy import Taxonomy
from .backbone import Stored

# Cosine of centred features from which two photographs count as one. Of copies (halved, cut, moved,
# darker, compressed, mirrored) nine of ten or more reach it, of photographs of two landmarks none,
# with a trained backbone as with an untrained one.
ALIKE = 0.87
LEAST = 2  # photographs of a landmark
COARSE_BITS = 4
BEND = 6.0  # steps of a feature around its zero point, below which coarse numbers are even
FLOOR = 1e-3  # of the mean deviation, added to each
_BLOCK = 1024  # rows compared at a time
Bursts = tuple[tuple[int, ...], ...]  # places of rows, two or more each, sorted


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """Features of photographs, whatever the order in which they came.

    Attributes:
        hierarchy: The category of each landmark.
        landmarks: (n, F) int8 rows of each landmark, no row twice, sorted.
        unknown: (m, F) rows of images of anything else, likewise.
        zero: The zero point of the rows.
        bursts: Rows of a landmark that are known to be of one burst, whether they are alike or not.
            Landmarks without any are absent.
        bits: 8, or 4 if every number is one of the 16 of `coarse`.
    """

    hierarchy: Mapping[str, str]
    landmarks: Mapping[str, Stored] = dataclasses.field(repr=False)
    unknown: Stored = dataclasses.field(repr=False)
    zero: int
    bursts: Mapping[str, Bursts] = dataclasses.field(default_factory=dict, repr=False)
    bits: int = 8

    @property
    def taxonomy(self) -> Taxonomy:
        """The landmarks with their categories."""
        return Taxonomy.from_pairs((above, name) for name, above in self.hierarchy.items())

    @property
    def count(self) -> int:
        """Number of photographs of landmarks."""
        return sum(map(len, self.landmarks.values()))

    def rows(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return the features, (N, F) of length 1, and the landmark of each, (N,)."""
        names = sorted(self.landmarks)
        counts = [len(self.landmarks[name]) for name in names]
        whole = np.concatenate([self.landmarks[name] for name in names])
        return unit(whole, self.zero), np.repeat(np.arange(len(names)), counts)

    def tied(self) -> list[tuple[int, int]]:
        """Return pairs of rows, as places in `rows`, that link each known burst together."""
        found, first = [], 0
        for name in sorted(self.landmarks):
            for burst in self.bursts.get(name, ()):
                found += [(first + burst[0], first + place) for place in burst[1:]]
            first += len(self.landmarks[name])
        return found

    def with_others(self, other: FeatureSet) -> FeatureSet:
        """Return this set and another one together, coarse if one of them is.

        Raises:
            DataError: A landmark stands under another category there.
        """
        if self.bits != other.bits:
            return self.coarsened().with_others(other.coarsened())
        for name, above in other.hierarchy.items():
            if self.hierarchy.get(name, above) != above:
                raise DataError(
                    f"landmark {name!r} is in the category {self.hierarchy[name]!r} of the base, "
                    f"not in {above!r}; move its folder, or rename it"
                )
        found, known = dict(self.landmarks), {**other.bursts, **self.bursts}
        for name, rows in other.landmarks.items():
            if name not in found:
                found[name] = rows
                continue
            moved = [[len(found[name]) + at for at in one] for one in other.bursts.get(name, ())]
            found[name], known[name] = _sorted(
                np.concatenate([found[name], rows]), [*self.bursts.get(name, ()), *moved]
            )
        return FeatureSet(
            hierarchy=dict(sorted({**self.hierarchy, **other.hierarchy}.items())),
            landmarks=found,
            unknown=unique(np.concatenate([self.unknown, other.unknown])),
            zero=self.zero,
            bursts={name: known[name] for name in sorted(known) if known[name]},
            bits=self.bits,
        )

    def coarsened(self) -> FeatureSet:
        """Return the set with numbers of 4 bits; rows that become the same are one."""
        if self.bits == COARSE_BITS:
            return self
        found = feature_set(
            self.hierarchy,
            {name: coarse(rows, self.zero) for name, rows in self.landmarks.items()},
            coarse(self.unknown, self.zero),
            zero=self.zero,
            width=self.unknown.shape[1],
            bursts=self.bursts,
        )
        return dataclasses.replace(found, bits=COARSE_BITS)

    def without(self, name: str) -> FeatureSet:
        """Return the set without a landmark. Raises DataError if it is not there."""
        self._check(name)
        return dataclasses.replace(
            self,
            hierarchy={one: above for one, above in self.hierarchy.items() if one != name},
            landmarks={one: rows for one, rows in self.landmarks.items() if one != name},
            bursts={one: known for one, known in self.bursts.items() if one != name},
        )

    def renamed(self, old: str, new: str) -> FeatureSet:
        """Return the set with another name of a landmark or of a category.

        Raises DataError if there is no such name, or if the new one is taken by a landmark.
        """
        if old in self.hierarchy:
            if new in self.hierarchy:
                raise DataError(f"--rename: there is a landmark {new!r} already; choose another")
            names = {name: new if name == old else name for name in self.hierarchy}
            return dataclasses.replace(
                self,
                hierarchy=dict(sorted((names[n], above) for n, above in self.hierarchy.items())),
                landmarks={names[name]: rows for name, rows in self.landmarks.items()},
                bursts={names[name]: known for name, known in self.bursts.items()},
            )
        if old in self.hierarchy.values():
            moved = {n: new if above == old else above for n, above in self.hierarchy.items()}
            return dataclasses.replace(self, hierarchy=moved)
        self._check(old)
        return self

    def _check(self, name: str) -> None:
        if name not in self.hierarchy:
            raise DataError(
                f"the base has no landmark {name!r}; `lmedge teach --list FILE` lists them"
            )


def feature_set(
    hierarchy: Mapping[str, str],
    landmarks: Mapping[str, Iterable[Stored]],
    unknown: Iterable[Stored],
    *,
    zero: int,
    width: int,
    bursts: Mapping[str, Iterable[Sequence[int]]] | None = None,
) -> FeatureSet:
    """Collect rows, (F,) int8 each, into a set.

    bursts: Places in the rows of a landmark, as they are given, that are of one burst.
    """
    found = {
        name: _sorted(_stacked(rows, width), (bursts or {}).get(name, ()))
        for name, rows in landmarks.items()
    }
    return FeatureSet(
        hierarchy=dict(sorted(hierarchy.items())),
        landmarks={name: rows for name, (rows, _) in found.items()},
        unknown=unique(_stacked(unknown, width)),
        zero=zero,
        bursts={name: known for name, (_, known) in sorted(found.items()) if known},
    )


def _sorted(rows: Stored, known: Iterable[Sequence[int]]) -> tuple[Stored, Bursts]:
    """Return (n, F) rows sorted, each once, and the bursts by their places among those.

    Bursts that share a row are one.
    """
    if not len(rows):
        return rows, ()
    found, places = np.unique(rows, axis=0, return_inverse=True)
    place = places.reshape(-1).tolist()
    pairs = [(place[one[0]], place[other]) for one in known for other in one[1:]]
    groups = bursts(np.zeros(len(found), np.int64), pairs)
    return found, tuple(sorted(tuple(sorted(group.tolist())) for group in groups if len(group) > 1))


def _stacked(rows: Iterable[Stored], width: int) -> Stored:
    found = list(rows)
    return np.stack(found) if found else np.zeros((0, width), np.int8)


def unique(rows: Stored) -> Stored:
    """Return (n, F) rows sorted, each once."""
    return np.unique(rows, axis=0) if len(rows) else rows


def unit(rows: npt.NDArray[np.number], zero: int) -> npt.NDArray[np.float32]:
    """Return (n, F) features, stored ones or those of a graph, with length 1."""
    values = rows.astype(np.float32) - np.float32(zero)
    squares = np.einsum("nf,nf->n", values, values, dtype=np.float64)
    lengths = np.maximum(np.sqrt(squares), 1e-6)[:, None]
    np.divide(values, lengths, out=values, casting="same_kind")
    return values


def coarse_numbers(zero: int) -> Stored:
    """Return the 16 numbers of coarse features, in order, for a zero point.

    They are evenly spaced in asinh((number - zero) / BEND): finely where most features are.
    """
    ends = np.arcsinh((np.array([-128.0, 127.0]) - zero) / BEND)
    steps = np.linspace(ends[0], ends[1], 1 << COARSE_BITS)
    return np.clip(np.rint(BEND * np.sinh(steps) + zero), -128, 127).astype(np.int8)


def coarse_places(rows: Stored, zero: int) -> npt.NDArray[np.uint8]:
    """Return the place of the nearest coarse number of each number of (n, F) rows."""
    numbers = coarse_numbers(zero).astype(np.int64)
    every = np.arange(-128, 128)
    nearest = np.abs(every[:, None] - numbers).argmin(axis=1).astype(np.uint8)
    return np.asarray(nearest[rows.astype(np.int64) + 128])


def coarse(rows: Stored, zero: int) -> Stored:
    """Return (n, F) rows with the nearest of the 16 coarse numbers in place of each."""
    return np.asarray(coarse_numbers(zero)[coarse_places(rows, zero)])


def deviations(
    rows: npt.NDArray[np.float32], landmark: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return the standard deviation, (F,), of each feature within a landmark.

    rows: (N, F). The variances of all landmarks count the same. FLOOR times the mean is added, so
    that a feature that hardly varies does not become the most important one.
    """
    total, count = np.zeros(rows.shape[1]), 0
    for number in range(int(landmark.max()) + 1):
        own = rows[landmark == number]
        if len(own) > 1:
            total += own.var(axis=0, dtype=np.float64, ddof=1)
            count += 1
    found = np.sqrt(total / max(count, 1))
    mean = float(found.mean())
    return np.asarray(found + FLOOR * mean if mean > 0 else np.ones_like(found), np.float32)


def alike(rows: npt.NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return the pairs (i, j), i < j, of (N, F) rows that are alike.

    The mean of all rows is taken off, without which the cosines depend on the backbone.
    """
    centred = rows - rows.mean(axis=0)
    lengths = np.sqrt(np.einsum("nf,nf->n", centred, centred))
    centred /= np.maximum(lengths, 1e-6)[:, None]
    found: list[tuple[int, int]] = []
    for start in range(0, len(rows), _BLOCK):
        close = centred[start : start + _BLOCK] @ centred[start:].T >= ALIKE
        first, second = np.nonzero(np.triu(close, 1))
        found += zip((first + start).tolist(), (second + start).tolist(), strict=True)
    return found


def bursts(
    truth: npt.NDArray[np.int64], pairs: Iterable[tuple[int, int]]
) -> list[npt.NDArray[np.intp]]:
    """Return the rows in groups of photographs of one landmark that pairs link, directly or not."""
    first = list(range(len(truth)))

    def root(place: int) -> int:
        while first[place] != place:
            first[place] = first[first[place]]
            place = first[place]
        return place

    for one, other in pairs:
        if truth[one] == truth[other]:
            low, high = sorted((root(one), root(other)))
            first[high] = low
    groups: dict[int, list[int]] = {}
    for place in range(len(truth)):
        groups.setdefault(root(place), []).append(place)
    return [np.asarray(members, np.intp) for members in groups.values()]
