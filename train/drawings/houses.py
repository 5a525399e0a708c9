"""Plain houses, for the scenes without a monument."""

from __future__ import annotations

import numpy as np

from .light import Paint, mix_paint
from .parts import DECAL, Array, Model, Parts, block, box, panels


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
