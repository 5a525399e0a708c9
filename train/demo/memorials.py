"""Memorials: single bodies and rings of stone, drawn about one unit high or two wide."""

from __future__ import annotations

import numpy as np

from .light import Paint
from .parts import (
    BEHIND,
    DECAL,
    DETAIL,
    INSIDE,
    Array,
    Model,
    Opening,
    Parts,
    block,
    box,
    panels,
    pierced,
)


def obelisk(rng: np.random.Generator, paint: Paint) -> Model:
    """One smooth tapering stone with a small pyramid for a tip, on a stepped pedestal."""
    parts = Parts()
    half = rng.uniform(0.06, 0.08)
    steps = int(rng.integers(2, 4))
    for step in range(steps):
        parts.solid(step)
        wide = half * (2.1 + 0.75 * (steps - step))
        parts.add(box((wide, wide), 0.03 * step, 0.03 * (step + 1)), paint.trim)
    low = 0.03 * steps
    plinth = low + rng.uniform(0.07, 0.13)
    parts.solid(4)
    wide = half * 1.55
    profile = [(wide, low), (wide, plinth), (wide * 1.12, plinth), (wide * 1.12, plinth + 0.015)]
    parts.add(block([(r, r, z) for r, z in profile]), paint.trim)
    plate = [(-wide * 0.6, wide * 0.6, low + 0.02, plinth - 0.02)]
    parts.add(panels(plate, (wide, wide)), paint.roof, layer=DECAL)
    parts.solid(5)
    neck, shoulder = half * rng.uniform(0.58, 0.72), 0.91
    foot = plinth + 0.015
    parts.add(block([(half, half, foot), (neck, neck, shoulder)]), paint.main)
    run = (half - neck) / (shoulder - foot)
    if rng.random() < 0.6:
        heights = np.arange(foot + 0.05, shoulder - 0.05, rng.uniform(0.04, 0.06))
        signs = [(-half * 0.25, half * 0.25, float(z), float(z) + 0.02) for z in heights]
        carved = panels(signs, (half, half), lean=(foot, run))
        parts.add(carved, paint.main * 0.72, layer=DECAL)
    parts.solid(6)
    tip = paint.roof if rng.random() < 0.4 else paint.main
    parts.add(block([(neck, neck, shoulder), (0.002, 0.002, shoulder + neck * 1.9)]), tip)
    return parts.model()


def triumphal_arch(rng: np.random.Generator, paint: Paint) -> Model:
    """A thick block with one great arch, at times two lesser ones, columns and a heavy attic."""
    parts = Parts()
    triple = rng.random() < 0.5
    half = rng.uniform(0.5, 0.58) if triple else rng.uniform(0.38, 0.46)
    thick = rng.uniform(0.15, 0.22)
    body = rng.uniform(0.66, 0.74)
    big = 0.17 if triple else half * rng.uniform(0.44, 0.52)
    parts.solid(0)
    spring = body - big - rng.uniform(0.07, 0.11)
    edge = big + 0.07 if triple else half
    bays = [(Opening(0, big, spring), (-edge, edge))]
    if triple:
        small, middle = (half - edge) * 0.33, (half + edge) / 2 - 0.01
        bays.append((Opening(-middle, small, spring * 0.62), (-half, -edge)))
        bays.append((Opening(middle, small, spring * 0.62), (edge, half)))
    for opening, bay in bays:
        inner, outer = pierced(opening, bay, thick, 0, body)
        parts.add(inner, paint.main * 0.8, layer=INSIDE)
        parts.add(outer, paint.main)
    parts.add(box((half, thick), 0, body)[[1, 3]], paint.main)
    _fittings(parts, paint, (half, thick), body, edge if triple else big)
    _attic(parts, rng, paint, (half, thick), body)
    return parts.model()


def _fittings(
    parts: Parts, paint: Paint, half: tuple[float, float], body: float, inner: float
) -> None:
    """Half columns beside the openings, on plinths, and reliefs on the two ends."""
    wide, thick = half
    for x in (-wide + 0.04, -inner - 0.035, inner + 0.035, wide - 0.04):
        for y, layer in ((-thick, DETAIL), (thick, BEHIND)):
            base = [(0.036, 0.03, 0.0), (0.036, 0.03, 0.12), (0.024, 0.022, 0.13)]
            shaft = [(0.021, 0.02, body - 0.04), (0.034, 0.03, body)]
            parts.add(block([*base, *shaft], (x, y)), paint.trim, layer=layer)
    relief = [(-thick * 0.5, thick * 0.5, body * 0.35, body * 0.75)]
    plates = panels(relief, (wide, thick), sides=(1, 3))
    parts.add(plates, paint.main * 0.78, layer=DECAL)


def _attic(
    parts: Parts, rng: np.random.Generator, paint: Paint, half: tuple[float, float], low: float
) -> None:
    wide, thick = half
    high = low + rng.uniform(0.19, 0.27)
    ledges = [(low, low + 0.045, 0.05), (high - 0.025, high + 0.02, 0.035)]
    for tier, (bottom, top, out) in enumerate(ledges):
        parts.solid(1 + 2 * tier)
        parts.add(box((wide + out, thick + out), bottom, top, bottom=True), paint.trim)
    parts.solid(2)
    parts.add(box((wide - 0.01, thick - 0.01), low + 0.045, high - 0.025), paint.main)
    words = [(-wide * 0.55, wide * 0.55, low + 0.07, high - 0.05)]
    parts.add(panels(words, (wide, thick - 0.01), sides=(0, 2)), paint.roof, layer=DECAL)
    if rng.random() < 0.4:
        parts.solid(4)
        group = [(wide * 0.3, thick * 0.5, high + 0.02), (wide * 0.12, thick * 0.3, high + 0.13)]
        parts.add(block(group), paint.dark * 2.2)


def stone_circle(rng: np.random.Generator, paint: Paint) -> Model:
    """A ring of rough upright stones, some joined by lintels, some fallen."""
    parts = Parts()
    count = int(rng.integers(9, 14))
    radius = rng.uniform(0.8, 1.0)
    tall = rng.uniform(0.4, 0.55)
    angles = np.arange(count) * (2 * np.pi / count) + rng.uniform(0, 1)
    standing = rng.random(count) < 0.88
    for angle, upright in zip(angles, standing, strict=True):
        parts.solid(0)
        if upright:
            size = (0.07 * rng.uniform(0.8, 1.2), 0.125 * rng.uniform(0.8, 1.15), tall)
            parts.add(_stone(rng, size, radius, angle), paint.main * rng.uniform(0.88, 1.1))
        elif rng.random() < 0.6:
            low = _stone(rng, (0.2, 0.09, 0.1), radius * rng.uniform(0.8, 1.1), angle)
            parts.add(low, paint.main * rng.uniform(0.8, 1.0))
    joined = rng.random(count) < rng.uniform(0.45, 0.9)
    for i in range(count):
        if joined[i] and standing[i] and standing[(i + 1) % count]:
            parts.solid(1)
            length = radius * np.sin(np.pi / count) + 0.09
            lintel = block([(0.075, length, tall), (0.07, length, tall + 0.1)], bottom=True)
            middle = angles[i] + np.pi / count
            parts.add(_placed(lintel, radius * np.cos(np.pi / count), middle), paint.main)
    for angle in rng.uniform(0, 2 * np.pi, int(rng.integers(0, 3))):
        parts.solid(0)
        size = (0.08, 0.14, tall * rng.uniform(0.9, 1.0))
        parts.add(_stone(rng, size, radius * 0.4, float(angle)), paint.main)
    return parts.model()


def _stone(
    rng: np.random.Generator, size: tuple[float, float, float], radius: float, angle: float
) -> Array:
    """A rough upright stone; size: half thickness (towards the middle), half width, height."""
    deep, wide, high = size
    foot, waist, head = rng.uniform(0.9, 1.15), rng.uniform(0.95, 1.1), rng.uniform(0.75, 0.92)
    levels = ((foot, 0.0), (waist, 0.45), (head, 1.0))
    return _placed(block([(deep * k, wide * k, high * z) for k, z in levels]), radius, angle)


def _placed(faces: Array, radius: float, angle: float) -> Array:
    """Faces moved out along x by the radius, then turned about the z axis by the angle."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = faces[..., 0] + radius, faces[..., 1]
    return np.stack((cos * x - sin * y, sin * x + cos * y, faces[..., 2]), axis=-1)
