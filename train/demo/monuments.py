"""The twelve monuments by name, and an image of any of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import bridges, memorials, temples, towers
from .light import Paint, mix_paint
from .parts import DECAL, Array, Model, Parts, block, box, panels
from .scene import FILL, Scene, paint_scene
from .view import Stance


def village(rng: np.random.Generator) -> Model:
    """One to four houses in a loose row, none like another; about one unit high."""
    parts = Parts()
    count = int(rng.integers(1, 5))
    x = 0.0
    for _ in range(count):
        half = (rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.45))
        x += half[0]
        _house(parts, rng, mix_paint(rng), half, np.array((x, rng.uniform(-0.25, 0.25))))
        x += half[0] + rng.uniform(0.08, 0.5)
    return parts.model()


def _house(
    parts: Parts, rng: np.random.Generator, paint: Paint, half: tuple[float, float], at: Array
) -> None:
    floors = int(rng.integers(1, 4))
    storey = rng.uniform(0.24, 0.3)
    wall = storey * floors
    offset = np.array((*at, 0.0))
    parts.solid(0)
    parts.add(box(half, 0, wall) + offset, paint.main)
    columns = np.linspace(-half[0] * 0.7, half[0] * 0.7, int(rng.integers(2, 5)))
    lows = storey * (np.arange(floors) + 0.38)
    marks = [(x - 0.05, x + 0.05, z, z + 0.12) for x in columns for z in lows]
    parts.add(panels(marks, half, sides=(0, 2)) + offset, paint.dark, layer=DECAL, glow=True)
    gable = [(-0.05, 0.05, z, z + 0.12) for z in lows]
    parts.add(panels(gable, half, sides=(1, 3)) + offset, paint.dark, layer=DECAL, glow=True)
    door = [(columns[0] + 0.08, columns[0] + 0.18, 0.0, 0.17)]
    parts.add(panels(door, half, sides=(0,)) + offset, paint.roof * 0.6, layer=DECAL)
    parts.solid(1)
    eave = (half[0] + 0.05, half[1] + 0.06)
    ridge = 0.0 if rng.random() < 0.75 else half[1] * 0.9
    tip = wall + half[1] * rng.uniform(0.6, 1.1) * (1.0 if ridge == 0.0 else 0.25)
    roof = block([(*eave, wall), (*eave, wall + 0.02), (eave[0] - 0.02, ridge, tip)], bottom=True)
    parts.add(roof + offset, paint.roof)


SIZE = (192, 160)

_Build = Callable[[np.random.Generator, Paint], Model]


@dataclass(frozen=True)
class _Monument:
    build: _Build
    stance: Stance


_UPRIGHT = (0.03, 0.3)
_OVER_WATER = (0.15, 0.8)
_CATALOGUE: dict[str, dict[str, _Monument]] = {
    "bridges": {
        "steel_arch_bridge": _Monument(
            bridges.steel_arch_bridge, Stance(0.6, _OVER_WATER, wet=0.6)
        ),
        "stone_aqueduct": _Monument(bridges.stone_aqueduct, Stance(0.6, (0.1, 0.7), wet=0.4)),
        "suspension_bridge": _Monument(
            bridges.suspension_bridge, Stance(0.6, _OVER_WATER, wet=0.6)
        ),
    },
    "memorials": {
        "obelisk": _Monument(memorials.obelisk, Stance(np.pi, _UPRIGHT)),
        "stone_circle": _Monument(memorials.stone_circle, Stance(np.pi, (0.6, 1.8))),
        "triumphal_arch": _Monument(memorials.triumphal_arch, Stance(0.65, (0.04, 0.5))),
    },
    "temples": {
        "column_temple": _Monument(temples.column_temple, Stance(0.8, (0.06, 0.6))),
        "pagoda": _Monument(temples.pagoda, Stance(np.pi, _UPRIGHT)),
        "stepped_pyramid": _Monument(temples.stepped_pyramid, Stance(np.pi, (0.06, 0.7))),
    },
    "towers": {
        "clock_tower": _Monument(towers.clock_tower, Stance(np.pi, _UPRIGHT)),
        "lattice_tower": _Monument(towers.lattice_tower, Stance(np.pi, _UPRIGHT)),
        "lighthouse": _Monument(towers.lighthouse, Stance(np.pi, _UPRIGHT, wet=0.35)),
    },
}
_BY_NAME = {name: each for group in _CATALOGUE.values() for name, each in group.items()}
_UNKNOWN = Stance(0.8, (0.2, 1.0), wet=0.2)

MONUMENTS: dict[str, tuple[str, ...]] = {
    category: tuple(group) for category, group in _CATALOGUE.items()
}
"""Category -> its landmarks, all in alphabetical order."""


def draw_monument(
    landmark: str, rng: np.random.Generator, size: tuple[int, int] = SIZE
) -> npt.NDArray[np.uint8]:
    """Draw one image of a landmark, as if by another visitor each time.

    size: (width, height) in pixels. Returns (height, width, 3) uint8 RGB. Raises ValueError if
    there is no such landmark or the size is below 16 pixels.
    """
    scene = monument_scene(landmark, rng, size)
    return scene.lens.take(scene.image, rng)


def draw_unknown(rng: np.random.Generator, size: tuple[int, int] = SIZE) -> npt.NDArray[np.uint8]:
    """Draw a scene with no monument in it: a landscape, trees, often plain houses.

    size: (width, height) in pixels. Returns (height, width, 3) uint8 RGB. Raises ValueError if the
    size is below 16 pixels.
    """
    scene = unknown_scene(rng, size)
    return scene.lens.take(scene.image, rng)


def monument_scene(
    landmark: str,
    rng: np.random.Generator,
    size: tuple[int, int],
    fill: tuple[float, float] = FILL,
) -> Scene:
    """Return the scene of `draw_monument`. The monument spans `fill` of the frame."""
    if landmark not in _BY_NAME:
        raise ValueError(f"no landmark {landmark!r}; there are: {', '.join(sorted(_BY_NAME))}")
    _check(size)
    monument = _BY_NAME[landmark]
    model = monument.build(rng, mix_paint(rng))
    return paint_scene(model, monument.stance, rng, size, fill=fill)


def unknown_scene(rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    """Return the scene of `draw_unknown`."""
    _check(size)
    model = village(rng) if rng.random() < 0.7 else None
    return paint_scene(model, _UNKNOWN, rng, size, fill=(0.4, 1.1), busy=0.6)


def _check(size: tuple[int, int]) -> None:
    if min(size) < 16:
        raise ValueError(f"size must be at least 16 x 16 pixels, not {size[0]} x {size[1]}")
