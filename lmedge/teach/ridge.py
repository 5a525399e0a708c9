"""Ridge regression in closed form, with exact answers for groups of rows that are left out.

Weighted rows are decomposed once. Coefficients, fitted values and leverages follow from that for
any regularisation. What a regression without a group of rows would give for that group follows from
the leverages inside the group (Cook and Weisberg 1982, 2.2), without a second regression.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
TINY = 1e-12
BLOCK = 512  # rows in double precision at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOutAnswers:
    """Answers for rows that the regression had not learned.

    Attributes:
        values: (N, K) predictions.
        spread: (N,) variances of the predictions, as multiples of that of the residuals of a row
            of weight 1. The further a row lies from all that was learned, the larger.
    """

    values: Floats
    spread: Floats


class Ridge:
    """A ridge regression with an intercept on weighted rows, for any targets and regularisation."""

    def __init__(self, rows: npt.NDArray[np.floating], classes: Places) -> None:
        """Decompose (N, F) rows; every class, (N,), counts as much as any other.

        Memory is that of some five arrays of F x F numbers, or of N x F for fewer rows.
        """
        self._classes = classes
        counts = np.bincount(classes)
        self.weights: Floats = 1.0 / (counts[classes] * len(counts))
        self._roots = np.sqrt(self.weights)
        self.centre: Floats = self.weights @ rows
        if len(rows) <= rows.shape[1]:
            self._decompose_rows(self._centred(rows, slice(None)))
        else:
            self._decompose_products(rows)
        self.scale = float(self._values.sum())

    def _centred(self, rows: npt.NDArray[np.floating], part: slice) -> Floats:
        found: Floats = rows[part] - self.centre
        found *= self._roots[part, None]
        return found

    def _decompose_rows(self, centred: Floats) -> None:
        values, left = _eigen(centred @ centred.T)
        kept = values > TINY * max(float(values[-1]), TINY)
        self._values, left = values[kept], left[:, kept]
        self._directions = centred.T @ (left / np.sqrt(self._values))
        self._scores: Floats = left * np.sqrt(self._values)

    def _decompose_products(self, rows: npt.NDArray[np.floating]) -> None:
        """Decompose more rows than features, a block at a time: all in double precision is much."""
        parts = [slice(start, start + BLOCK) for start in range(0, len(rows), BLOCK)]
        products = np.zeros((rows.shape[1],) * 2)
        for part in parts:
            centred = self._centred(rows, part)
            products += centred.T @ centred
        self._values, self._directions = _eigen(products)
        del products
        self._scores = np.empty(rows.shape)
        for part in parts:
            np.matmul(self._centred(rows, part), self._directions, out=self._scores[part])

    def coefficients(self, targets: Floats, share: float) -> tuple[Floats, Floats]:
        """Return the kernel, (F, K), and the bias, (K,), for (N, K) targets.

        share: The regularisation as a share of the weighted sum of squares of the centred rows.
        """
        mean = self.weights @ targets
        inside = self._scores.T @ ((targets - mean) * self._roots[:, None])
        kernel = self._directions @ (inside / (self._values + share * self.scale)[:, None])
        return kernel, mean - self.centre @ kernel

    def leading(self, share: float, most: int) -> tuple[Floats, Floats]:
        """Return the directions, (F, R), with the most variance, and how far each shrinks, (R,).

        The variance of a prediction for a row x is
        1 + (|x - centre|^2 - sum of shrinkage (direction (x - centre))^2) / (share scale).
        """
        kept = min(most, len(self._values))
        values = self._values[::-1][:kept]
        return self._directions[:, ::-1][:, :kept], values / (values + share * self.scale)

    def spread_of(self, rows: npt.NDArray[np.floating], share: float) -> Floats:
        """Return the variances, (M,), of predictions for (M, F) rows that were not learned."""
        off = rows - self.centre
        inside = np.square(off @ self._directions) * (
            self._values / (self._values + share * self.scale)
        )
        outside = np.square(off).sum(axis=1) - inside.sum(axis=1)
        return np.asarray(1.0 + outside / (share * self.scale))

    def left_out(self, targets: Floats, share: float, groups: Sequence[Places]) -> LeftOutAnswers:
        """Return what regressions without each group would give for it.

        The rest of a class keeps the weight of the whole class, as if it had been taught alone.
        A class of which nothing is left is not learned at all.

        Args:
            targets: (N, K).
            share: As of `coefficients`.
            groups: Rows of one class each, every row in one group.
        """
        values, spread = np.empty_like(targets), np.empty(len(targets))
        residuals = targets - self._fitted(targets, share)
        by_class: dict[int, list[Places]] = {}
        for group in groups:
            by_class.setdefault(int(self._classes[group[0]]), []).append(group)
        for number, inside in by_class.items():
            members = np.flatnonzero(self._classes == number)
            kernel = self._leverages(members, share)
            places = np.empty(len(targets), np.intp)
            places[members] = np.arange(len(members))
            weight = float(self.weights[members[0]])
            for size in sorted({len(group) for group in inside}):
                chosen = np.stack([places[group] for group in inside if len(group) == size])
                found, own = _without(kernel, residuals[members], weight, chosen)
                rows = members[chosen]
                values[rows], spread[rows] = targets[rows] - found, own
        return LeftOutAnswers(values=values, spread=spread)

    def _fitted(self, targets: Floats, share: float) -> Floats:
        mean = self.weights @ targets
        inside = self._scores.T @ ((targets - mean) * self._roots[:, None])
        inside /= (self._values + share * self.scale)[:, None]
        return np.asarray(self._scores @ inside / self._roots[:, None] + mean)

    def _leverages(self, rows: Places, share: float) -> Floats:
        """Return the (n, n) leverages of some rows upon each other, without their weights."""
        own = self._scores[rows] / self._roots[rows][:, None]
        return np.asarray(1.0 + (own / (self._values + share * self.scale)) @ own.T)


def _without(
    kernel: Floats, residuals: Floats, weight: float, groups: Places
) -> tuple[Floats, Floats]:
    """Return the residuals, (G, S, K), and the spread, (G, S), of groups, (G, S), left out.

    kernel: (n, n) leverages in the class of the groups. residuals: (n, K) of the whole class.
    weight: Of each row of the class.

    With weights that change by D the leverages become (1 + kernel D)^-1 kernel, and the residuals
    (1 + kernel D)^-1 residuals. At first the whole class gains what its group is about to lose.
    """
    count, size = len(kernel), groups.shape[1]
    raised = weight
    if size < count:
        raised = weight * count / (count - size)
        kernel, residuals = _reweighted(kernel, residuals, np.full(count, raised - weight))
    inner = kernel[groups[:, :, None], groups[:, None, :]]
    system = np.eye(size) - raised * inner
    both = np.concatenate([residuals[groups], inner], axis=2)
    found = np.linalg.solve(system, both)
    classes = residuals.shape[1]
    spread = np.diagonal(found[:, :, classes:], axis1=1, axis2=2)
    return found[:, :, :classes], spread


def _reweighted(kernel: Floats, residuals: Floats, change: Floats) -> tuple[Floats, Floats]:
    system = np.eye(len(kernel)) + kernel * change
    found = np.linalg.solve(system, np.concatenate([kernel, residuals], axis=1))
    return found[:, : len(kernel)], found[:, len(kernel) :]


def _eigen(matrix: Floats) -> tuple[Floats, Floats]:
    """Return the eigenvalues of a symmetric matrix, the smallest first, and their vectors."""
    values, vectors = np.linalg.eigh(matrix)
    return np.maximum(values, 0.0), vectors


def logistic(
    features: Floats, positive: npt.NDArray[np.bool_], weights: Floats
) -> tuple[Floats, float]:
    """Return slopes, (K,), and offset of a logistic regression on (N, K) features.

    Newton's method on features of unit variance with a normal prior, so that it ends also if a
    feature separates the two kinds. weights: (N,), with the sum N.
    """
    mean = np.average(features, axis=0, weights=weights)
    scale = np.maximum(features.std(axis=0), TINY)
    design = np.column_stack([(features - mean) / scale, np.ones(len(features))])
    found = np.zeros(design.shape[1])
    for _ in range(_NEWTON):
        chance = 1 / (1 + np.exp(-np.clip(design @ found, -30, 30)))
        slope = design.T @ (weights * (chance - positive)) + found
        curvature = (design.T * (weights * chance * (1 - chance))) @ design
        found = found - np.linalg.solve(curvature + np.eye(len(found)), slope)
    slopes = found[:-1] / scale
    return slopes, float(found[-1] - slopes @ mean)


_NEWTON = 25
