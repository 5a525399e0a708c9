"""The Cholesky factor of a matrix, anew for each number that is added to its diagonal.

Matrix and factor share one square array: the matrix keeps the part above the diagonal blocks, and
the factor is written below. `numpy.linalg` would need three such arrays, and NumPy solves no
triangular systems.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
BLOCK = 128


class Cholesky:
    """Triangular systems of a symmetric matrix plus a multiple of the identity."""

    def __init__(self, matrix: Floats) -> None:
        """Take a symmetric (D, D) matrix, which is overwritten."""
        self._whole = matrix
        self._parts = [
            slice(start, min(start + BLOCK, len(matrix))) for start in range(0, len(matrix), BLOCK)
        ]
        self._diagonal = [matrix[part, part].copy() for part in self._parts]
        self._inverses: list[Floats] = []

    def factor(self, added: float) -> None:
        """Factor the matrix plus `added` times the identity, which must be positive definite."""
        self._inverses = []
        for part, own in zip(self._parts, self._diagonal, strict=True):
            before, below = slice(0, part.start), slice(part.stop, None)
            left = self._whole[part, before]
            block = own - left @ left.T
            block[np.diag_indices_from(block)] += added
            inverse = np.linalg.inv(np.linalg.cholesky(block))
            self._inverses.append(inverse)
            panel = self._whole[part, below].T - self._whole[below, before] @ left.T
            self._whole[below, part] = panel @ inverse.T

    def forward(self, right: Floats) -> Floats:
        """Return L^-1 right for (D, M) columns, L being the lower factor."""
        found = np.empty_like(right)
        for part, inverse in zip(self._parts, self._inverses, strict=True):
            before = slice(0, part.start)
            found[part] = inverse @ (right[part] - self._whole[part, before] @ found[before])
        return found

    def backward(self, right: Floats) -> Floats:
        """Return L^-T right for (D, M) columns."""
        found = np.empty_like(right)
        for part, inverse in zip(self._parts[::-1], self._inverses[::-1], strict=True):
            below = slice(part.stop, None)
            found[part] = inverse.T @ (right[part] - self._whole[below, part].T @ found[below])
        return found
