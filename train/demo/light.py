"""Materials, the light of an hour, and the brush that paints flat shapes in it.

Every monument takes its materials from the same list, so that colour does not name it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .parts import Array

_STONES = np.array(
    [
        (0.80, 0.74, 0.62),  # limestone
        (0.60, 0.60, 0.61),  # granite
        (0.88, 0.86, 0.82),  # marble
        (0.66, 0.38, 0.30),  # brick
        (0.77, 0.60, 0.42),  # sandstone
        (0.45, 0.41, 0.39),  # basalt, iron
        (0.62, 0.27, 0.22),  # red paint
        (0.48, 0.58, 0.53),  # weathered copper
        (0.50, 0.37, 0.27),  # timber
        (0.50, 0.56, 0.64),  # slate, blue-grey paint
    ]
)
_DARK = np.array((0.13, 0.14, 0.17))
_HOURS: dict[str, tuple[float, tuple[tuple[float, float, float], ...]]] = {
    # share, then direct, ambient, zenith, horizon
    "day": (
        0.5,
        ((0.74, 0.71, 0.64), (0.48, 0.50, 0.54), (0.27, 0.50, 0.80), (0.74, 0.85, 0.93)),
    ),
    "overcast": (
        0.2,
        ((0.16, 0.16, 0.16), (0.80, 0.81, 0.83), (0.58, 0.62, 0.67), (0.82, 0.84, 0.86)),
    ),
    "dusk": (
        0.18,
        ((0.78, 0.54, 0.34), (0.44, 0.41, 0.48), (0.32, 0.36, 0.60), (0.97, 0.68, 0.46)),
    ),
    "night": (
        0.08,
        ((0.58, 0.50, 0.36), (0.36, 0.36, 0.42), (0.05, 0.07, 0.16), (0.17, 0.19, 0.32)),
    ),
}
_SHIFT = 4


@dataclass(frozen=True)
class Paint:
    """The colours of one monument, each (3,) float64 RGB albedo in [0, 1].

    main: the body; trim: cornices, bands, bars; roof; dark: windows and doors.
    """

    main: Array
    trim: Array
    roof: Array
    dark: Array


def mix_paint(rng: np.random.Generator) -> Paint:
    """Draw the materials of a monument; trim and roof differ visibly from the body."""
    main, roof = _STONES[rng.choice(len(_STONES), 2, replace=False)]
    pale = 0.25 if main.mean() > 0.55 else 0.75
    trim = main + (pale - main) * rng.uniform(0.25, 0.5)
    return Paint(*(_vary(colour, rng) for colour in (main, trim, roof, _DARK)))


def _vary(colour: Array, rng: np.random.Generator) -> Array:
    varied = colour * rng.uniform(0.85, 1.15) * rng.uniform(0.94, 1.06, 3)
    return np.asarray(np.clip(varied, 0.05, 0.97))


@dataclass(frozen=True)
class Light:
    """The light of a scene. Colours are (3,) float64 RGB, 1 being white in the image.

    sun: (3,) unit vector towards the sun, in the axes of the camera; direct, ambient: colours that
    multiply an albedo; zenith, horizon: the sky; haze: share of the horizon's colour on the
    monument, in [0, 1]; shadow: how dark a cast shadow is, in [0, 1]; night: windows and lamps lit.
    """

    sun: Array
    direct: Array
    ambient: Array
    zenith: Array
    horizon: Array
    haze: float
    shadow: float
    night: bool

    def shade(self, albedo: Array, normals: Array) -> Array:
        """Colours (N, 3) of surfaces with albedo (N, 3) or (3,) and unit normals (N, 3)."""
        facing = np.maximum(normals @ self.sun, 0.0)[:, None]
        openness = (0.85 + 0.15 * normals[:, 2])[:, None]
        lit = albedo * (self.ambient * openness + self.direct * facing)
        return np.asarray(lit + (self.horizon - lit) * self.haze)

    def tone(self, albedo: Array, facing: float = 0.6, far: float = 0.0) -> tuple[float, ...]:
        """A flat colour in 0 to 255 for something `far` (0 near, 1 lost in the haze) away."""
        lit = albedo * (self.ambient + self.direct * facing)
        veil = self.haze + (1.0 - self.haze) * far
        mixed = np.clip(lit + (self.horizon - lit) * veil, 0.0, 1.0) * 255.0
        return tuple(mixed.tolist())


def choose_light(rng: np.random.Generator) -> Light:
    """Draw the hour, the weather and the place of the sun."""
    shares = np.array([share for share, _ in _HOURS.values()])
    hour = list(_HOURS)[int(rng.choice(len(shares), p=shares / shares.sum()))]
    colours = np.array(_HOURS[hour][1])
    colours = colours * rng.uniform(0.88, 1.12, (4, 1)) * rng.uniform(0.95, 1.05, (4, 3))
    # Mostly from behind the camera; far enough round that some images are against the light.
    azimuth = rng.uniform(-1.9, 1.9)
    height = rng.uniform(0.25, 0.5) if hour == "dusk" else rng.uniform(0.4, 1.1)
    flat = float(np.cos(height))
    sun = np.array((flat * np.sin(azimuth), -flat * np.cos(azimuth), np.sin(height)))
    casts = {"day": 0.5, "overcast": 0.12, "dusk": 0.45, "night": 0.0}[hour]
    return Light(
        sun=sun,
        direct=colours[0],
        ambient=colours[1],
        zenith=colours[2],
        horizon=np.minimum(colours[3], 1.0),
        haze=float(rng.uniform(0.0, 0.08) if rng.random() < 0.85 else rng.uniform(0.08, 0.22)),
        shadow=casts * float(rng.uniform(0.7, 1.1)),
        night=hour == "night",
    )


@dataclass(frozen=True)
class Brush:
    """Paints on a canvas (H, W, 3) uint8 RGB in plane coordinates, see `Viewpoint`.

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
