"""The solids a monument is put together from, gathered into one table of faces.

World coordinates: x to the right, y away from the viewer, z up, ground at z = 0. A unit is
whatever the monument likes; the view scales it to the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BEHIND, INSIDE, SURFACE, DECAL, DETAIL = range(5)
"""Layers of one solid, painted in this order: what stands behind it, the inside of its arches, its
walls, what is on them, and what is on that."""


@dataclass(frozen=True)
class Model:
    """A monument as a table of N faces; every array has N rows.

    faces: (N, 4, 3) float64, corners counter-clockwise seen from outside; a triangle repeats a
    corner, a strut is (a, b, b, a). colours: (N, 3) float64 RGB albedo in [0, 1]. glow: (N,) bool,
    lit at night. width: (N,) float64, thickness of a strut, 0 for a face. solid, tier, layer: (N,)
    int64, see `Parts`. Raises ValueError if the arrays disagree.
    """

    faces: Array
    colours: Array
    glow: npt.NDArray[np.bool_]
    width: Array
    solid: Ints
    tier: Ints
    layer: Ints

    def __post_init__(self) -> None:
        count = len(self.faces)
        if self.faces.shape != (count, 4, 3) or self.colours.shape != (count, 3):
            raise ValueError(f"faces {self.faces.shape} and colours {self.colours.shape} disagree")
        for name in ("glow", "width", "solid", "tier", "layer"):
            if getattr(self, name).shape != (count,):
                raise ValueError(f"{name} must have shape ({count},)")


@dataclass
class Parts:
    """Collects solids and gives a `Model`.

    The painter's algorithm needs an order. Tiers are slabs one above the other and are ordered
    exactly, by their distance from the height of the eye; the solids of a tier are ordered by the
    distance of their middle; the faces of a solid by their layer, then by distance.
    """

    _rows: list[tuple[Array, Array, Array, Ints]] = field(default_factory=list)
    _solid: int = 0
    _tier: int = 0

    def solid(self, tier: int | None = None) -> None:
        """Start a new solid, in the tier given or in the tier of the last one."""
        self._solid += 1
        self._tier = self._tier if tier is None else tier

    def add(
        self,
        faces: Array,
        colour: Array,
        *,
        layer: int = SURFACE,
        glow: bool = False,
        width: float = 0.0,
        at: Array | None = None,
    ) -> None:
        """Add faces to the current solid, or with `at` one copy a place, each its own solid.

        faces: (N, 4, 3); colour: (3,) or (N, 3) RGB in [0, 1]; at: (K, 2) or (K, 3) offsets.
        """
        count = len(faces)
        copies = 1 if at is None else len(at)
        if at is not None:
            offset = np.zeros((copies, 1, 1, 3))
            offset[:, 0, 0, : at.shape[1]] = at
            faces = (faces[None] + offset).reshape(-1, 4, 3)
        tags = np.empty((count * copies, 4), np.int64)
        tags[:, 0] = self._solid + np.arange(count * copies) // count
        tags[:, 1:] = (self._tier, layer, glow)
        self._solid += copies - 1
        colours = np.tile(np.broadcast_to(colour, (count, 3)), (copies, 1))
        self._rows.append((faces, colours, np.full(len(faces), width), tags))

    def model(self) -> Model:
        """The table of everything added so far."""
        tags = np.concatenate([row[3] for row in self._rows])
        return Model(
            faces=np.concatenate([row[0] for row in self._rows]),
            colours=np.concatenate([row[1] for row in self._rows]),
            width=np.concatenate([row[2] for row in self._rows]),
            solid=tags[:, 0],
            tier=tags[:, 1],
            layer=tags[:, 2],
            glow=tags[:, 3].astype(bool),
        )


def skin(rings: Array, *, top: bool = True, bottom: bool = False) -> Array:
    """The faces between rings stacked from low to high, with a lid and a floor if asked.

    rings: (K, n, 3), each counter-clockwise seen from above. Returns (N, 4, 3).
    """
    after = np.roll(rings, -1, axis=1)
    walls = np.stack((rings[:-1], after[:-1], after[1:], rings[1:]), axis=2).reshape(-1, 4, 3)
    lids = [fan(rings[-1])] if top else []
    floors = [fan(rings[0][::-1])] if bottom else []
    return np.concatenate([walls, *lids, *floors])


def fan(ring: Array) -> Array:
    """A convex polygon as quads. ring: (n, 3), n even and at least 4. Returns (n / 2 - 1, 4, 3)."""
    first = np.arange(1, len(ring) - 2, 2)
    corners = np.stack((np.zeros_like(first), first, first + 1, first + 2), axis=1)
    return np.asarray(ring[corners])


def rings(profile: Sequence[tuple[float, float]], sides: int, *, turn: float = 0.0) -> Array:
    """Regular polygons, one for each (radius, height). Returns (K, sides, 3)."""
    angle = turn + np.arange(sides) * (2 * np.pi / sides)
    shape = np.asarray(profile, np.float64)
    out = np.empty((len(shape), sides, 3))
    out[:, :, 0] = shape[:, :1] * np.cos(angle)
    out[:, :, 1] = shape[:, :1] * np.sin(angle)
    out[:, :, 2] = shape[:, 1:]
    return out


def lathe(
    profile: Sequence[tuple[float, float]], sides: int = 14, *, bottom: bool = False
) -> Array:
    """A round solid about the z axis from (radius, height) pairs. Returns (N, 4, 3)."""
    return skin(rings(profile, sides), bottom=bottom)


def rectangles(profile: Sequence[tuple[float, float, float]]) -> Array:
    """Rectangles about the z axis, one for each (half x, half y, height). Returns (K, 4, 3)."""
    shape = np.asarray(profile, np.float64)[:, None, :]
    return np.asarray(shape * np.array([(-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)]))


def block(
    profile: Sequence[tuple[float, float, float]],
    at: tuple[float, float] = (0.0, 0.0),
    *,
    bottom: bool = False,
) -> Array:
    """A stack of frustums with rectangular section: (half x, half y, height) from low to high."""
    return np.asarray(skin(rectangles(profile), bottom=bottom) + np.array((*at, 0.0)))


def box(half: tuple[float, float], low: float, high: float, *, bottom: bool = False) -> Array:
    """An upright box about the z axis. half: half its length in x and in y."""
    return block([(*half, low), (*half, high)], bottom=bottom)


def panels(
    marks: Sequence[tuple[float, float, float, float]],
    half: tuple[float, float],
    *,
    lean: tuple[float, float] = (0.0, 0.0),
    sides: Sequence[int] = (0, 1, 2, 3),
) -> Array:
    """Rectangles on the walls of a box. Returns (N, 4, 3).

    marks: (left, right, low, high) along each wall; half: half the length of the box in x and in y
    at the foot; lean: (height of the foot, inward run for each unit of height), for walls that
    taper; sides: 0 front, then counter-clockwise.
    """
    left, right, low, high = np.asarray(marks, np.float64).T
    foot, run = lean
    inward_low, inward_high = (low - foot) * run, (high - foot) * run
    out = []
    for side in sides:
        far = half[1 - side % 2]
        quad = np.empty((len(left), 4, 3))
        quad[:, :, 0] = np.stack((left, right, right, left), axis=1)
        quad[:, :2, 1] = (inward_low - far)[:, None]
        quad[:, 2:, 1] = (inward_high - far)[:, None]
        quad[:, :, 2] = np.stack((low, low, high, high), axis=1)
        out.append(quarter_turns(quad, side))
    return np.concatenate(out)


def disc(radius: float, centre: tuple[float, float], reach: float, side: int = 0) -> Array:
    """A round plate on a wall, as `panels` counts the walls. centre: (along the wall, height)."""
    angle = np.arange(12) * (np.pi / 6)
    ring = np.empty((12, 3))
    ring[:, 0] = centre[0] + radius * np.cos(angle)
    ring[:, 1] = -reach
    ring[:, 2] = centre[1] + radius * np.sin(angle)
    return quarter_turns(fan(ring), side)


def quarter_turns(points: Array, count: int) -> Array:
    """Points (..., 3) turned about the z axis by quarter turns, counter-clockwise from above."""
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[count % 4]
    out = points.copy()
    out[..., 0] = cos * points[..., 0] - sin * points[..., 1]
    out[..., 1] = sin * points[..., 0] + cos * points[..., 1]
    return out


def struts(starts: Array, ends: Array) -> Array:
    """Bars between two sets of points, both (N, 3). Returns (N, 4, 3) for a width above 0."""
    return np.stack((starts, ends, ends, starts), axis=1)


def chain(points: Array) -> Array:
    """Bars along a line of points (N, 3). Returns (N - 1, 4, 3)."""
    return struts(points[:-1], points[1:])


@dataclass(frozen=True)
class Opening:
    """An arch through a wall: middle, half width, height of its springing; semicircular above."""

    middle: float
    half: float
    spring: float


def pierced(
    opening: Opening, bay: tuple[float, float], thick: float, foot: float, top: float
) -> tuple[Array, Array]:
    """One bay of a wall along x with an arch through it: the inside, then front and back.

    bay: where the bay begins and ends along x; thick: half the thickness; foot, top: heights.
    Both results are (N, 4, 3). The two ends of the wall are left to the caller.
    """
    angle = np.linspace(np.pi, 0.0, 9)
    arc_x = opening.middle + opening.half * np.cos(angle)
    arc_z = opening.spring + opening.half * np.sin(angle)
    line_x = np.concatenate((arc_x[:1], arc_x, arc_x[-1:]))
    line_z = np.concatenate(((foot,), arc_z, (foot,)))
    inner = np.empty((len(line_x) - 1, 4, 3))
    inner[:, :, 0] = np.stack((line_x[1:], line_x[:-1], line_x[:-1], line_x[1:]), axis=1)
    inner[:, :, 1] = (-thick, -thick, thick, thick)
    inner[:, :, 2] = np.stack((line_z[1:], line_z[:-1], line_z[:-1], line_z[1:]), axis=1)
    # The face around the opening as upright strips, each from the arch to the top of the wall.
    left = np.concatenate(((bay[0],), arc_x))
    right = np.concatenate((arc_x, (bay[1],)))
    front = np.empty((len(left), 4, 3))
    front[:, :, 0] = np.stack((left, right, right, left), axis=1)
    front[:, :, 1] = -thick
    front[:, 0, 2] = np.concatenate(((foot,), arc_z[:-1], (foot,)))
    front[:, 1, 2] = np.concatenate(((foot,), arc_z[1:], (foot,)))
    front[:, 2:, 2] = top
    back = front[:, ::-1].copy()
    back[:, :, 1] = thick
    return inner, np.concatenate((front, back))
