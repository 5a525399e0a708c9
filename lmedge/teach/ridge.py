"""Ridge regression in closed form, with exact answers for groups of rows that are left out.

The products of the weighted rows are computed once, and factored for each regularisation. What a
regression without a group of rows would give for that group follows from the leverages inside the
group (Cook and Weisberg 1982, 2.2), without a second regression.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from .cholesky import Cholesky

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
TINY = 1e-12
BLOCK = 512  # rows in double precision at a time
_COLUMNS = 256  # right sides of a triangular system at a time: their copies take the most memory


class Ridge:
    """A ridge regression with an intercept on weighted rows, for any targets and regularisation."""

    def __init__(self, rows: npt.NDArray[np.floating], classes: Places) -> None:
        """Multiply (N, F) rows; every class, (N,), counts as much as any other.

        Memory is that of one array of F x F numbers, or less for few rows: those are turned into
        N coordinates first, in which their products are the same.
        """
        self.classes = classes
        counts = np.bincount(classes)
        self.weights: Floats = 1.0 / (counts[classes] * len(counts))
        self.centre: Floats = self.weights @ rows
        self._rows = rows
        self._axes: Floats | None = None
        if 2 * len(rows) <= rows.shape[1]:
            self._axes, turned = np.linalg.qr((rows - self.centre).T)
            self._turned: Floats = turned.T
        width = rows.shape[1] if self._axes is None else len(rows)
        products = np.zeros((width, width))
        for start in range(0, len(rows), BLOCK):
            part = np.arange(start, min(start + BLOCK, len(rows)))
            own = self.coordinates(part) * np.sqrt(self.weights[part])[:, None]
            for first in range(0, width, BLOCK):  # all at once would take the array twice
                columns = slice(first, first + BLOCK)
                products[columns] += own[:, columns].T @ own
        self.scale = max(float(np.trace(products)), TINY)
        self._factor = Cholesky(products)

    def coordinates(self, chosen: Places) -> Floats:
        """Return rows less the centre, (n, D)."""
        if self._axes is None:
            return np.asarray(self._rows[chosen] - self.centre)
        return self._turned[chosen]

    def solve(self, targets: Floats, share: float) -> Solution:
        """Solve for (N, K) targets.

        share: The regularisation as a share of the weighted sum of squares of the centred rows.

        The solution is valid until the next one.
        """
        self._factor.factor(share * self.scale)
        mean = self.weights @ targets
        width = self._turned.shape[1] if self._axes is not None else self._rows.shape[1]
        right = np.zeros((width, targets.shape[1]))
        for start in range(0, len(targets), BLOCK):
            part = np.arange(start, min(start + BLOCK, len(targets)))
            off = (targets[part] - mean) * self.weights[part][:, None]
            right += self.coordinates(part).T @ off
        return Solution(self, self._factor, targets, mean, self._factor.forward(right), self._axes)


class Solution:
    """A ridge regression at one regularisation."""

    def __init__(
        self,
        ridge: Ridge,
        factor: Cholesky,
        targets: Floats,
        mean: Floats,
        half: Floats,
        axes: Floats | None,
    ) -> None:
        """Keep what `Ridge.solve` found; `half` is half way to the kernel."""
        self._ridge, self._factor, self._axes = ridge, factor, axes
        self._targets, self._mean, self._half = targets, mean, half

    def coefficients(self) -> tuple[Floats, Floats]:
        """Return the kernel, (F, K), and the bias, (K,)."""
        kernel = self._factor.backward(self._half)
        if self._axes is not None:
            kernel = self._axes @ kernel
        return kernel, self._mean - self._ridge.centre @ kernel

    def left_out(self, groups: Sequence[Places]) -> Floats:
        """Return what regressions without each group would give for it, (N, K).

        The rest of a class keeps the weight of the whole class, as if it had been taught alone.
        A class of which nothing is left is not learned at all. What the regularisation is a share
        of stays that of all rows.

        groups: Rows of one class each, every row in one group.
        """
        values = np.empty_like(self._targets)
        by_class: dict[int, list[Places]] = {}
        for group in groups:
            by_class.setdefault(int(self._ridge.classes[group[0]]), []).append(group)
        places = np.empty(len(values), np.intp)
        for number, members, inner in self._halves(sorted(by_class)):
            kernel, fitted = 1.0 + inner.T @ inner, self._mean + inner.T @ self._half
            residuals = self._targets[members] - fitted
            places[members] = np.arange(len(members))
            weight = float(self._ridge.weights[members[0]])
            inside = by_class[number]
            for size in sorted({len(group) for group in inside}):
                chosen = np.stack([places[group] for group in inside if len(group) == size])
                rows = members[chosen]
                values[rows] = self._targets[rows] - _without(kernel, residuals, weight, chosen)
        return values

    def _halves(self, numbers: Sequence[int]) -> Iterator[tuple[int, Places, Floats]]:
        """Yield classes, their rows and L^-1 of their coordinates, (D, n), some at a time."""
        waiting: list[tuple[int, Places]] = []
        for number in numbers:
            waiting.append((number, np.flatnonzero(self._ridge.classes == number)))
            if sum(len(members) for _, members in waiting) >= _COLUMNS or number == numbers[-1]:
                together = np.concatenate([members for _, members in waiting])
                found = self._factor.forward(self._ridge.coordinates(together).T)
                ends = np.cumsum([len(members) for _, members in waiting])
                for (one, members), inner in zip(
                    waiting, np.split(found, ends[:-1], axis=1), strict=True
                ):
                    yield one, members, inner
                waiting = []


def _without(kernel: Floats, residuals: Floats, weight: float, groups: Places) -> Floats:
    """Return the residuals, (G, S, K), of groups, (G, S), left out.

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
    return np.asarray(np.linalg.solve(system, residuals[groups]))


def _reweighted(kernel: Floats, residuals: Floats, change: Floats) -> tuple[Floats, Floats]:
    system = np.eye(len(kernel)) + kernel * change
    found = np.linalg.solve(system, np.concatenate([kernel, residuals], axis=1))
    return found[:, : len(kernel)], found[:, len(kernel) :]
