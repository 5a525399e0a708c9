"""Temples: broad buildings in storeys, columns or steps, drawn about one unit high."""

from __future__ import annotations

import itertools

import numpy as np

from .light import Paint
from .parts import DECAL, Array, Model, Parts, block, box, chain, lathe, panels, rectangles, skin


def pagoda(rng: np.random.Generator, paint: Paint) -> Model:
    """Three to six square storeys, each smaller, under wide roofs with upturned corners."""
    parts = Parts()
    storeys = int(rng.integers(3, 7))
    rise = 0.82 / storeys
    foot, shrink = rng.uniform(0.17, 0.23), rng.uniform(0.45, 0.65)
    overhang = rng.uniform(1.5, 1.8)
    lift = rng.uniform(0.12, 0.24) * rise
    parts.solid(0)
    parts.add(box((foot * 1.35, foot * 1.35), 0, 0.04), paint.trim)
    for storey in range(storeys):
        half = foot * (1 - shrink * storey / storeys)
        low = 0.04 + storey * rise
        eave, high = low + rise * 0.55, low + rise
        parts.solid(1 + 2 * storey)
        parts.add(box((half, half), low, eave + 0.01), paint.main)
        bays = [(-0.8, -0.35), (-0.2, 0.2), (0.35, 0.8)]
        marks = [(a * half, b * half, low + rise * 0.1, eave - rise * 0.1) for a, b in bays]
        parts.add(panels(marks, (half, half)), paint.dark, layer=DECAL, glow=True)
        parts.solid(2 + 2 * storey)
        last = storey == storeys - 1
        neck = 0.01 if last else foot * (1 - shrink * (storey + 1) / storeys)
        top = high + 0.05 if last else high
        parts.add(_curved_roof(half * overhang, neck, (eave, top), lift), paint.roof)
    parts.solid(2 * storeys + 2)
    tip = 0.04 + storeys * rise + 0.05
    parts.add(chain(np.array([(0, 0, tip - 0.02), (0, 0, tip + 0.13)])), paint.trim, width=0.012)
    return parts.model()


def _curved_roof(half: float, neck: float, heights: tuple[float, float], lift: float) -> Array:
    """A hollow-curved hipped roof, its corners higher than the middles of its eaves."""
    low, high = heights
    turn = np.arange(8) * (np.pi / 4) - 3 * np.pi / 4
    square = np.stack((np.cos(turn), np.sin(turn)), axis=1)
    square[::2] *= np.sqrt(2)
    out = np.empty((4, 8, 3))
    shape = ((1.0, 0.0), (1.0, 0.1), (0.55, 0.42), (neck / half, 1.0))
    for ring, (share, climb) in zip(out, shape, strict=True):
        ring[:, :2] = square * (half * share)
        ring[:, 2] = low + (high - low) * climb
    out[:2, ::2, 2] += lift
    return skin(out, bottom=True)


def column_temple(rng: np.random.Generator, paint: Paint) -> Model:
    """Steps, a row of columns all round a dark hall, a low gable."""
    parts = Parts()
    front, flank = int(rng.integers(4, 8)), int(rng.integers(6, 10))
    wide = rng.uniform(0.42, 0.55)
    deep = min(wide * (flank - 1) / (front - 1), 0.95)
    tall = rng.uniform(0.40, 0.52)
    steps = int(rng.integers(2, 5))
    foot = 0.035 * steps
    for step in range(steps):
        parts.solid(step)
        out = 0.06 + 0.045 * (steps - step)
        parts.add(box((wide + out, deep + out), 0.035 * step, 0.035 * (step + 1)), paint.main)
    _hall(parts, paint, (wide * 0.72, deep * 0.8), (foot, foot + tall))
    radius = rng.uniform(0.035, 0.046)
    column = [(radius, foot), (radius * 0.8, foot + tall - 0.03), (radius * 1.35, foot + tall)]
    x, y = np.linspace(-wide, wide, front), np.linspace(-deep, deep, flank)[1:-1]
    ring = [(a, b) for a in x for b in (-deep, deep)] + [(a, b) for a in (-wide, wide) for b in y]
    parts.solid()
    parts.add(lathe(column, 8), paint.main, at=np.array(ring))
    _gable(parts, paint, (wide + 0.06, deep + 0.06), foot + tall, rng.uniform(0.3, 0.42))
    return parts.model()


def _hall(
    parts: Parts, paint: Paint, half: tuple[float, float], heights: tuple[float, float]
) -> None:
    """The inner walls, in pieces so that each is ordered among the columns by its own distance."""
    foot, top = heights
    door = panels([(-0.09, 0.09, foot, foot + (top - foot) * 0.75)], half)
    for side in range(4):
        along = half[side % 2 == 1]
        edges = np.linspace(-along, along, (3, 7)[side % 2] + 1)
        marks = [(float(a), float(b), foot, top) for a, b in itertools.pairwise(edges)]
        for piece, wall in enumerate(panels(marks, half, sides=(side,))):
            parts.solid(10)
            parts.add(wall[None], paint.main * 0.62)
            if side % 2 == 0 and piece == 1:
                parts.add(door[side : side + 1], paint.dark, layer=DECAL)


def _gable(parts: Parts, paint: Paint, half: tuple[float, float], low: float, pitch: float) -> None:
    wide, deep = half
    beam = low + 0.075
    parts.solid(11)
    parts.add(box(half, low, beam, bottom=True), paint.trim)
    marks = [(x - 0.012, x + 0.012, low + 0.035, beam) for x in np.arange(-wide + 0.05, wide, 0.1)]
    parts.add(panels(marks, half, sides=(0, 2)), paint.main, layer=DECAL)
    parts.solid(12)
    tip = beam + wide * pitch
    eave = rectangles([(wide + 0.03, deep + 0.03, beam), (wide + 0.03, deep + 0.03, beam + 0.025)])
    ridge = rectangles([(0.0, deep + 0.03, tip)])
    faces = skin(np.concatenate((eave, ridge)), bottom=True)
    colours = np.tile(paint.roof, (len(faces), 1))
    # Faces 4 and 6 close the gable at the front and the back.
    colours[[0, 2, 4, 6]] = paint.main
    parts.add(faces, colours)
    inner = np.array([(-wide * 0.8, low, 0), (wide * 0.8, low, 0), (0, low, 0), (0, low, 0)])
    inner[:, 2] = (beam + 0.035, beam + 0.035, tip - 0.04, tip - 0.04)
    inner[:, 1] = -(deep + 0.03)
    back = inner * (-1, -1, 1)
    parts.add(np.stack((inner, back)), paint.main * 0.72, layer=DECAL)


def stepped_pyramid(rng: np.random.Generator, paint: Paint) -> Model:
    """Five to nine terraces, a stair up the middle of each side, a small shrine on top."""
    parts = Parts()
    steps = int(rng.integers(5, 10))
    foot, crown = rng.uniform(0.72, 0.9), rng.uniform(0.17, 0.24)
    rise = 0.74 / steps
    lean = rise * rng.uniform(0.1, 0.35)
    halves = np.linspace(foot, crown, steps)
    stair = rng.uniform(0.09, 0.13)
    for step, half in enumerate(halves):
        low, high = step * rise, (step + 1) * rise
        parts.solid(step)
        shade = paint.main * (1.0 if step % 2 else 0.93)
        parts.add(block([(half, half, low), (half - lean, half - lean, high)]), shade)
        run = lean / rise
        edge = [(-half, half, high - rise * 0.22, high)]
        parts.add(panels(edge, (half, half), lean=(low, run)), paint.trim, layer=DECAL)
        walk = [(-stair, stair, low, high)]
        parts.add(panels(walk, (half, half), lean=(low, run)), paint.trim * 0.9, layer=DECAL)
        treads = [
            (-stair * 0.8, stair * 0.8, z, z + rise / 6) for z in low + rise * np.arange(3) / 3
        ]
        parts.add(panels(treads, (half, half), lean=(low, run)), paint.main * 0.6, layer=DECAL + 1)
    top = steps * rise
    hall = crown * rng.uniform(0.55, 0.75)
    parts.solid(20)
    parts.add(box((hall, hall), top, top + 0.13), paint.main)
    door = [(-hall * 0.35, hall * 0.35, top, top + 0.09)]
    parts.add(panels(door, (hall, hall)), paint.dark, layer=DECAL, glow=True)
    parts.solid(21)
    roof = [(hall * 1.15, hall * 1.15, top + 0.13), (hall * 0.9, hall * 0.9, top + 0.19)]
    parts.add(block(roof, bottom=True), paint.roof)
    return parts.model()
