"""Towers: tall and slender, drawn about one unit high."""

from __future__ import annotations

import numpy as np

from .light import Paint
from .parts import (
    DECAL,
    DETAIL,
    Array,
    Model,
    Parts,
    block,
    box,
    chain,
    disc,
    lathe,
    panels,
    quarter_turns,
    struts,
)


def lattice_tower(rng: np.random.Generator, paint: Paint) -> Model:
    """Four curved legs of crossed bars that meet high up, two platforms, a mast."""
    parts = Parts()
    foot, neck = rng.uniform(0.19, 0.25), rng.uniform(0.022, 0.032)
    steep = rng.uniform(2.6, 3.6)
    decks = (rng.uniform(0.17, 0.24), rng.uniform(0.40, 0.50))
    heights = np.concatenate(
        (np.linspace(0, decks[0], 4), np.linspace(*decks, 5)[1:], np.linspace(decks[1], 0.9, 7)[1:])
    )
    half = neck + (foot - neck) * np.exp(-steep * heights) * (1 - heights / 0.9) ** 0.4
    for tier, (low, high) in enumerate(((0, 3), (3, 7), (7, 13))):
        parts.solid(tier * 2)
        span = slice(low, high + 1)
        _lattice(parts, half[span], heights[span], paint, open_foot=tier == 0)
        parts.solid(tier * 2 + 1)
        wide = half[high] * (1.25 if tier < 2 else 2.0)
        parts.add(box((wide, wide), heights[high], heights[high] + 0.022, bottom=True), paint.trim)
    parts.solid(6)
    parts.add(block([(neck, neck, 0.925), (neck * 0.4, neck * 0.4, 0.95)]), paint.main)
    parts.add(chain(np.array([(0, 0, 0.95), (0, 0, 1.03)])), paint.main, width=0.008)
    return parts.model()


def _lattice(parts: Parts, half: Array, heights: Array, paint: Paint, *, open_foot: bool) -> None:
    """One storey of the lattice: legs, crossed bars and rings on all four sides."""
    left = np.stack((-half, -half, heights), axis=1)
    right = left * (-1, 1, 1)
    if open_foot:
        inner = left + (right - left) * np.linspace(0.34, 0.42, len(half))[:, None]
        bars = [(inner, left), (left, inner), (inner * (-1, 1, 1), right)]
        bars.append((right, inner * (-1, 1, 1)))
        rails = [chain(left), chain(inner), chain(inner * (-1, 1, 1)), _arch(half, heights)]
    else:
        bars = [(left, right), (right, left)]
        rails = [chain(left), struts(left[1:], right[1:])]
    crossed = np.concatenate([struts(a[:-1], b[1:]) for a, b in bars])
    straight = np.concatenate(rails)
    for side in range(4):
        shade = paint.main * (0.8 if side == 2 else 1.0)
        parts.add(quarter_turns(crossed, side), shade, width=0.008)
        parts.add(quarter_turns(straight, side), shade, width=0.017 if open_foot else 0.013)


def _arch(half: Array, heights: Array) -> Array:
    """The ornamental arch between the two front legs, leaning inwards with them."""
    along = np.linspace(-0.84, 0.84, 9)
    rise = np.sqrt(1 - (along / 0.84) ** 2) * heights[-1] * 0.85
    depth = np.interp(rise, heights, half)
    return chain(np.stack((along * half[0], -depth, rise), axis=1))


def clock_tower(rng: np.random.Generator, paint: Paint) -> Model:
    """A square shaft, a wider belfry with a clock on each side, a steep pointed roof."""
    parts = Parts()
    half = rng.uniform(0.085, 0.11)
    shaft = rng.uniform(0.5, 0.58)
    belfry = shaft + 2.35 * half
    wide = half * rng.uniform(1.1, 1.25)
    parts.solid(0)
    base = half * 1.3
    parts.add(block([(base, base, 0), (base, base, 0.07), (half, half, 0.09)]), paint.main)
    parts.add(panels([(-0.03, 0.03, 0, 0.06)], (base, base)), paint.dark, layer=DECAL)
    parts.solid(1)
    parts.add(box((half, half), 0.09, shaft), paint.main)
    corner = half * 0.72
    ribs = [(-half, -corner, 0.09, shaft), (corner, half, 0.09, shaft)]
    parts.add(panels(ribs, (half, half)), paint.trim, layer=DECAL)
    rows = int(rng.integers(3, 6))
    lows = np.linspace(0.13, shaft - 0.1, rows)
    slits = [(x - 0.011, x + 0.011, z, z + 0.055) for z in lows for x in (-half / 3, half / 3)]
    parts.add(panels(slits, (half, half)), paint.dark, layer=DECAL, glow=True)
    parts.solid(2)
    parts.add(
        block([(half, half, shaft), (wide, wide, shaft + 0.03), (wide, wide, belfry)], bottom=True),
        paint.main,
    )
    _clocks(parts, rng, paint, wide, (shaft + 0.03 + belfry) / 2)
    parts.solid(3)
    eave, tip = wide * 1.15, rng.uniform(0.92, 1.02)
    roof = [
        (eave, eave, belfry),
        (eave, eave, belfry + 0.02),
        (wide * 0.9, wide * 0.9, belfry + 0.03),
    ]
    parts.add(block([*roof, (0.004, 0.004, tip)], bottom=True), paint.roof)
    parts.add(chain(np.array([(0, 0, tip), (0, 0, tip + 0.05)])), paint.trim, width=0.007)
    return parts.model()


def _clocks(
    parts: Parts, rng: np.random.Generator, paint: Paint, wide: float, middle: float
) -> None:
    """Four dials with hands at one time of day."""
    radius = wide * rng.uniform(0.68, 0.8)
    hour, minute = rng.uniform(0, 2 * np.pi, 2)
    pale = np.array((0.95, 0.93, 0.86))
    for side in range(4):
        parts.add(disc(radius * 1.18, (0, middle), wide, side), paint.dark, layer=DECAL)
        parts.add(disc(radius, (0, middle), wide, side), pale, layer=DETAIL, glow=True)
        for angle, length in ((hour, 0.55), (minute, 0.88)):
            tip = (radius * length * np.sin(angle), -wide, middle + radius * length * np.cos(angle))
            hand = chain(np.array([(0, -wide, middle), tip]))
            # A bar has no back; as a thin face it disappears with its wall.
            across = np.array((np.cos(angle), 0, -np.sin(angle))) * radius * 0.09
            hand[:, :2] += across
            hand[:, 2:] -= across
            parts.add(quarter_turns(hand, side), paint.dark, layer=DETAIL + 1)


def lighthouse(rng: np.random.Generator, paint: Paint) -> Model:
    """A round tapering shaft in bands, a gallery, a glass lantern under a cap, a keeper's house."""
    parts = Parts()
    foot, neck = rng.uniform(0.125, 0.16), rng.uniform(0.075, 0.095)
    shaft = rng.uniform(0.7, 0.76)
    bands = int(rng.choice((1, 3, 4, 5, 6, 7)))
    heights = np.linspace(0.04, shaft, bands + 1)
    radius = neck + (foot - neck) * (1 - (heights - 0.04) / (shaft - 0.04)) ** 1.3
    second = paint.roof if rng.random() < 0.6 else paint.trim
    parts.solid(0)
    parts.add(lathe([(foot * 1.3, 0), (foot * 1.25, 0.04)]), paint.trim)
    if rng.random() < 0.6:
        parts.solid(1)
        _keepers_house(parts, rng, paint, foot)
    for band in range(bands):
        parts.solid(1 + band)
        ends = [(radius[i], heights[i]) for i in (band, band + 1)]
        parts.add(
            lathe([(float(r), float(z)) for r, z in ends], 16), (paint.main, second)[band % 2]
        )
    parts.solid(10)
    wide = neck * rng.uniform(1.35, 1.6)
    gallery = [(neck, shaft), (wide, shaft + 0.03), (wide, shaft + 0.05)]
    parts.add(lathe(gallery, 16, bottom=True), paint.trim)
    _lantern(parts, paint, neck, shaft + 0.05, rng.uniform(0.09, 0.12))
    return parts.model()


def _lantern(parts: Parts, paint: Paint, neck: float, low: float, tall: float) -> None:
    """The glass room with its posts, and the cap on it."""
    parts.solid(11)
    room = neck * 0.68
    top = low + tall
    glass = np.array((0.62, 0.72, 0.75))
    parts.add(lathe([(room, low), (room, top)], 12), glass, glow=True)
    angle = np.arange(6) * (np.pi / 3)
    post = np.stack((room * np.cos(angle), room * np.sin(angle), np.full(6, low)), axis=1)
    parts.add(struts(post, post + np.array((0, 0, tall))), paint.dark, width=0.008)
    parts.solid(12)
    cap = [
        (neck * 0.95, top),
        (neck * 0.75, top + 0.03),
        (neck * 0.4, top + 0.06),
        (0.01, top + 0.075),
    ]
    parts.add(lathe(cap, 14, bottom=True), paint.roof)
    parts.add(chain(np.array([(0, 0, top + 0.07), (0, 0, top + 0.12)])), paint.dark, width=0.008)


def _keepers_house(parts: Parts, rng: np.random.Generator, paint: Paint, foot: float) -> None:
    side = rng.choice((-1.0, 1.0))
    at = np.array([(side * (foot * 1.3 + 0.13), rng.uniform(-0.1, 0.1))])
    wall = rng.uniform(0.08, 0.11)
    parts.solid()
    parts.add(box((0.1, 0.075), 0, wall), paint.main, at=at)
    windows = [(-0.06, -0.03, 0.03, 0.06), (0.03, 0.06, 0.03, 0.06)]
    lit = panels(windows, (0.1, 0.075), sides=(0, 2)) + np.array((*at[0], 0))
    parts.add(lit, paint.dark, layer=DECAL, glow=True)
    parts.solid()
    roof = block([(0.11, 0.085, wall), (0.11, 0.0, wall + 0.06)], bottom=True)
    parts.add(roof, paint.roof, at=at)
