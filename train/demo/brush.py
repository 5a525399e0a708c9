"""Flat shapes in the plane of the image: what the surroundings are painted with."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .light import Light
from .parts import Array

_SHIFT = 4


@dataclass(frozen=True)
class Brush:
    """Paints on a canvas (H, W, 3) uint8 RGB in plane coordinates, see `View`.

    to_canvas: (2, 3) affine map from the plane to pixels; aspect: width of the frame in heights.
    """

    canvas: npt.NDArray[np.uint8]
    to_canvas: Array
    aspect: float
    light: Light

    @property
    def scale(self) -> float:
        """Pixels in one height of the frame."""
        return float(np.sqrt(abs(np.linalg.det(self.to_canvas[:, :2]))))

    def pixels(self, points: Array) -> npt.NDArray[np.int32]:
        """Canvas positions of (N, 2) plane points, in sixteenths of a pixel."""
        moved = points @ self.to_canvas[:, :2].T + self.to_canvas[:, 2]
        return np.asarray(np.rint(moved * (1 << _SHIFT)), np.int32)

    def polygon(self, points: Array, colour: tuple[float, ...]) -> None:
        """Fill a polygon, convex or not. points: (N, 2)."""
        cv2.fillPoly(self.canvas, [self.pixels(points)], colour, cv2.LINE_8, _SHIFT)

    def line(self, points: Array, width: float, colour: tuple[float, ...]) -> None:
        """Draw a line through points (N, 2), its width in heights of the frame."""
        thickness = max(1, round(width * self.scale))
        cv2.polylines(
            self.canvas, [self.pixels(points)], False, colour, thickness, cv2.LINE_8, _SHIFT
        )

    def discs(self, centres: Array, radii: Array, colours: list[tuple[float, ...]]) -> None:
        """Fill discs. centres: (N, 2); radii: (N,) in heights of the frame."""
        places = self.pixels(centres).tolist()
        sizes = np.rint(radii * self.scale * (1 << _SHIFT)).astype(int).tolist()
        for place, size, colour in zip(places, sizes, colours, strict=True):
            cv2.circle(self.canvas, place, size, colour, -1, cv2.LINE_8, _SHIFT)


def ragged(rng: np.random.Generator, count: int, rough: float = 0.5) -> Array:
    """A rolling line of `count` heights in [0, 1]; `rough` is how much the small bumps weigh."""
    at = np.linspace(0.0, 1.0, count)
    total, line = 0.0, np.zeros(count)
    for octave in range(3):
        knots = 3 * 2**octave
        weight = rough**octave
        line += weight * np.interp(at, np.linspace(0, 1, knots), rng.random(knots))
        total += weight
    return line / total


def mottle(
    rng: np.random.Generator, shape: tuple[int, int], coarse: tuple[int, int], octaves: int = 3
) -> npt.NDArray[np.float32]:
    """Soft noise in [0, 1], (H, W) float32. coarse: rows and columns of its largest blotches."""
    out = np.zeros(shape, np.float32)
    total = 0.0
    for octave in range(octaves):
        grid = rng.random((coarse[0] << octave, coarse[1] << octave), np.float32)
        weight = 0.5**octave
        out += weight * cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_LINEAR)
        total += weight
    return out / np.float32(total)
