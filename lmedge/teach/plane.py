"""The plane through the mean features of all landmarks, and how far photographs lie off it.

An image of anything else lies far off. For a photograph that was learned, the plane without it, or
without its whole landmark, follows from barycentric coordinates, without another decomposition.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .ridge import BLOCK, Floats, Places

PART = 4  # of the features: a plane has at most one dimension for so many
TINY = 1e-12


class Plane:
    """The plane through the means of the classes of (N, F) rows.

    With one class, or with more than one for PART features, it is the mean of these means alone.

    Attributes:
        centre: (F,) the mean of the means.
        basis: (F, R) orthonormal, R = C - 1 or 0.
    """

    def __init__(self, rows: npt.NDArray[np.floating], classes: Places) -> None:
        """Find the plane; classes: (N,), every class has a row."""
        self._rows, self._classes = rows, classes
        count = int(classes.max()) + 1
        self._means = np.stack(
            [rows[classes == number].mean(axis=0, dtype=np.float64) for number in range(count)]
        )
        self.centre: Floats = self._means.mean(axis=0)
        dimensions = count - 1 if PART * (count - 1) <= rows.shape[1] else 0
        off = (self._means - self.centre)[:dimensions]
        self.basis: Floats = np.linalg.qr(off.T)[0]
        if dimensions:
            corners = (self._means - self.centre) @ self.basis
            places = np.linalg.pinv(np.column_stack([corners, np.ones(count)]))
            slopes = places[:-1]
            lengths = np.maximum(np.sqrt(np.square(slopes).sum(axis=0)), TINY)
            self._normals = slopes / lengths  # of the plane without the class, towards its mean
            self._offsets = places[-1] / lengths

    def distances(self, rows: npt.NDArray[np.floating]) -> Floats:
        """Return the squared distances, (M,), of (M, F) rows from the plane."""
        found = np.empty(len(rows))
        for start in range(0, len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            off = rows[part] - self.centre
            found[part] = np.square(off).sum(axis=1) - np.square(off @ self.basis).sum(axis=1)
        return np.maximum(found, 0.0)

    def without_classes(self) -> Floats:
        """Return the squared distance of each row from the plane without its class, (N,)."""
        found = np.empty(len(self._rows))
        for number in range(len(self._means)):
            members = np.flatnonzero(self._classes == number)
            if self.basis.shape[1]:
                flat, away, height = self._apart(members, number)
                found[members] = np.square(away).sum(axis=1) - np.square(flat).sum(axis=1)
                found[members] += np.square(height)
            else:
                others = max(len(self._means) - 1, 1)
                centre = self.centre + (self.centre - self._means[number]) / others
                found[members] = np.square(self._rows[members] - centre).sum(axis=1)
        return np.maximum(found, 0.0)

    def without_groups(self, groups: Sequence[Places]) -> Floats:
        """Return the squared distance of each row from the plane without its group, (N,).

        groups: Rows of one class each, every row in one group. A group that is its whole class
        takes the class away.
        """
        counts = np.bincount(self._classes)
        found = self.without_classes()
        for group in groups:
            number = int(self._classes[group[0]])
            left = int(counts[number]) - len(group)
            if left:
                own = self._rows[group] - self._means[number]
                found[group] = self._moved(group, number, -own.sum(axis=0) / left)
        return found

    def _moved(self, group: Places, number: int, change: Floats) -> Floats:
        """Return the squared distances, (n,), after the mean of a class has changed."""
        if not self.basis.shape[1]:
            centre = self.centre + change / len(self._means)
            return np.asarray(np.square(self._rows[group] - centre).sum(axis=1))
        flat, away, height = self._apart(group, number)
        inside = change @ self.basis
        rise = self._height(self._means[number] - self.centre, number)
        rise += float(inside @ self._normals[:, number])
        whole = np.square(away).sum(axis=1) - np.square(flat).sum(axis=1) + np.square(height)
        along = away @ change - flat @ inside + height * rise
        length = change @ change - inside @ inside + rise**2
        nearer = np.square(along) / max(float(length), TINY)
        return np.asarray(np.maximum(whole - nearer, 0.0))

    def _height(self, off: Floats, number: int) -> float:
        inside = off @ self.basis
        return float(inside @ self._normals[:, number] + self._offsets[number])

    def _apart(self, members: Places, number: int) -> tuple[Floats, Floats, Floats]:
        """Return rows along the plane, (n, R), from its centre, (n, F), and above that of others.

        The third, (n,), is the distance within the plane from the plane of the other classes.
        """
        away = np.asarray(self._rows[members] - self.centre)
        flat = away @ self.basis
        return flat, away, flat @ self._normals[:, number] + self._offsets[number]
