"""The output `known`: the probability that an image shows one of the landmarks of the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .ridge import TINY, Floats

FAR = 0.95  # share of the photographs whose distance from the plane says nothing
_NEWTON = 25


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """What `known` depends on.

    Attributes:
        values: (N, L) of the landmark regression, 1 for its own landmark and 0 for others; -inf
            for a landmark that was not learned.
        distance: (N,) squared, from the plane through the means.
    """

    values: Floats
    distance: Floats

    def terms(self, limit: float) -> Floats:
        """Return the three terms, (N, 3)."""
        whole = np.where(np.isfinite(self.values), self.values, 0.0)
        return np.column_stack(
            [
                self.values.max(axis=1),
                np.square(whole).sum(axis=1),
                np.maximum(self.distance - limit, 0.0),
            ]
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnownScore:
    """The output `known`: the logistic function of a sum of four terms.

    Attributes:
        likeness: Factor of the largest value of the landmark regression.
        length: Factor of the sum of the squares of all its values.
        distance: Factor of what the squared distance from the plane exceeds `limit` by.
        limit: The distance that FAR of the photographs have at most.
        offset: What is added.
    """

    likeness: float
    length: float
    distance: float
    limit: float
    offset: float

    @classmethod
    def fit(cls, own: Evidence, kinds: Sequence[tuple[Evidence, float]]) -> KnownScore:
        """Fit to photographs of landmarks, and to other kinds with the share of each."""
        limit = float(np.quantile(own.distance, FAR))
        parts = [(own, 1 - sum(share for _, share in kinds)), *kinds]
        total = sum(len(one.distance) for one, _ in parts)
        weights = [
            np.full(len(one.distance), total * share / len(one.distance)) for one, share in parts
        ]
        terms = np.concatenate([one.terms(limit) for one, _ in parts])
        positive = np.arange(total) < len(own.distance)
        slopes, offset = logistic(terms, positive, np.concatenate(weights))
        likeness, length, distance = slopes.tolist()
        return cls(likeness=likeness, length=length, distance=distance, limit=limit, offset=offset)

    def of(self, found: Evidence) -> Floats:
        """Return the probabilities, (N,), that images show one of the landmarks, 0..1."""
        slopes = [self.likeness, self.length, self.distance]
        place = found.terms(self.limit) @ slopes + self.offset
        return np.asarray(1 / (1 + np.exp(-np.clip(place, -60, 60))))


def logistic(
    features: Floats, positive: npt.NDArray[np.bool_], weights: Floats
) -> tuple[Floats, float]:
    """Return slopes, (K,), and offset of a logistic regression on (N, K) features.

    Newton's method on features of unit variance with a normal prior, so that it ends also if a
    feature separates the two kinds. weights: (N,), with the sum N.
    """
    mean = np.average(features, axis=0, weights=weights)
    spread = features.std(axis=0)
    scale = np.where(spread > TINY, spread, 1.0)
    design = np.column_stack([(features - mean) / scale, np.ones(len(features))])
    found = np.zeros(design.shape[1])
    for _ in range(_NEWTON):
        chance = 1 / (1 + np.exp(-np.clip(design @ found, -30, 30)))
        slope = design.T @ (weights * (chance - positive)) + found
        curvature = (design.T * (weights * chance * (1 - chance))) @ design
        found = found - np.linalg.solve(curvature + np.eye(len(found)), slope)
    slopes = found[:-1] / scale
    return slopes, float(found[-1] - slopes @ mean)
