"""Bridges: long along x, drawn about two units long."""

from __future__ import annotations

import numpy as np

from .light import Paint
from .parts import (
    DECAL,
    INSIDE,
    Array,
    Model,
    Opening,
    Parts,
    block,
    box,
    chain,
    panels,
    pierced,
    struts,
)


def suspension_bridge(rng: np.random.Generator, paint: Paint) -> Model:
    """Two portal towers, main cables that hang between them, hangers, a thin deck."""
    parts = Parts()
    span, reach = rng.uniform(0.5, 0.6), 1.12
    deck, top = rng.uniform(0.14, 0.2), rng.uniform(0.68, 0.84)
    half = rng.uniform(0.07, 0.1)
    _deck(parts, paint, (reach, half * 0.85), deck, 0.03)
    for side in (-1.0, 1.0):
        parts.solid(1)
        _abutment(parts, paint, side * reach, half, deck)
        parts.solid(1)
        for y in (-half, half):
            leg = [(0.042, 0.03, 0.0), (0.028, 0.022, top + 0.02)]
            parts.solid()
            parts.add(block(leg, (side * span, y)), paint.main)
        for z in (deck * 0.45, (deck + top) / 2, top - 0.04):
            parts.solid()
            beam = box((0.018, half), z, z + 0.035, bottom=True)
            parts.add(beam + np.array((side * span, 0, 0)), paint.main)
    sag = rng.uniform(0.03, 0.08)
    for y in (-half, half):
        parts.solid()
        _cables(parts, paint, (span, reach, y), (deck + 0.03, top), sag)
    return parts.model()


def _cables(
    parts: Parts,
    paint: Paint,
    plan: tuple[float, float, float],
    heights: tuple[float, float],
    sag: float,
) -> None:
    """The cable of one side with its hangers. plan: tower x, end x, y; heights: deck, tower top."""
    span, reach, y = plan
    deck, top = heights
    middle = np.linspace(-span, span, 21)
    hang = deck + sag + (top - deck - sag) * (middle / span) ** 2
    outer = np.linspace(span, reach, 9)
    slope = deck + (top - deck) * ((reach - outer) / (reach - span)) ** 1.35
    x = np.concatenate((-outer[::-1], middle[1:-1], outer))
    z = np.concatenate((slope[::-1], hang[1:-1], slope))
    cable = np.stack((x, np.full_like(x, y), z), axis=1)
    foot = cable.copy()
    foot[:, 2] = deck
    parts.add(chain(cable), paint.trim, width=0.024)
    parts.add(struts(cable[1:-1], foot[1:-1]), paint.trim, width=0.007)


def _deck(parts: Parts, paint: Paint, half: tuple[float, float], low: float, thick: float) -> None:
    """The roadway, in pieces so that each is ordered among the piers by its own distance."""
    pieces = 8
    length = half[0] * 2 / pieces
    for piece in range(pieces):
        parts.solid(1)
        middle = -half[0] + length * (piece + 0.5)
        slab = box((length / 2, half[1]), low, low + thick, bottom=True)
        parts.add(slab + np.array((middle, 0, 0)), paint.roof)
        line = panels([(-length / 2, length / 2, low + thick * 0.6, low + thick)], (0.0, half[1]))
        parts.add(line[[0, 2]] + np.array((middle, 0, 0)), paint.trim, layer=DECAL)


def _abutment(parts: Parts, paint: Paint, x: float, half: float, deck: float) -> None:
    side = np.sign(x)
    foot = block([(0.1, half * 1.6, 0), (0.06, half * 1.25, deck + 0.04)], (x + side * 0.05, 0))
    parts.add(foot, paint.main * 0.85)


def stone_aqueduct(rng: np.random.Generator, paint: Paint) -> Model:
    """One to three rows of round arches one above the other, level on top."""
    parts = Parts()
    rows = int(rng.choice((1, 2, 2, 3)))
    count = int(rng.integers(5, 9))
    total = rng.uniform(0.5, 0.62) if rows == 1 else rng.uniform(0.6, 0.85)
    shares = {1: (1.0,), 2: (0.58, 0.42), 3: (0.42, 0.36, 0.22)}[rows]
    thick, reach, foot = rng.uniform(0.07, 0.1), 1.0, 0.0
    for row, share in enumerate(shares):
        high = foot + total * share
        deep = thick * (1 - 0.14 * row)
        bays = count * 2 if row == 2 else count
        width = 2 * reach / bays
        hole = width * rng.uniform(0.32, 0.38)
        spring = max(high - 0.045 - hole - total * 0.02, foot + 0.01)
        parts.solid(2 * row)
        for left in -reach + width * np.arange(bays):
            opening = Opening(left + width / 2, hole, spring)
            inner, outer = pierced(opening, (left, left + width), deep, foot, high)
            parts.add(inner, paint.main * 0.78, layer=INSIDE)
            parts.add(outer, paint.main * rng.uniform(0.95, 1.05))
        parts.add(box((reach, deep), foot, high)[[1, 3]], paint.main)
        parts.solid(2 * row + 1)
        parts.add(box((reach, deep + 0.018), high, high + 0.025, bottom=True), paint.trim)
        foot = high + 0.025
    return parts.model()


def steel_arch_bridge(rng: np.random.Generator, paint: Paint) -> Model:
    """A high lattice arch over and through the deck, which hangs from it, between stone pylons."""
    parts = Parts()
    span, reach = 0.74, 1.12
    deck, top = rng.uniform(0.17, 0.23), rng.uniform(0.64, 0.8)
    half = rng.uniform(0.09, 0.13)
    _deck(parts, paint, (reach, half), deck, 0.035)
    for x in (-span - 0.07, span + 0.07):
        for y in (-half * 1.15, half * 1.15):
            parts.solid(1)
            tall = deck + rng.uniform(0.14, 0.16)
            pylon = [(0.06, 0.045, 0.0), (0.048, 0.036, tall), (0.056, 0.044, tall)]
            parts.add(block([*pylon, (0.05, 0.038, tall + 0.03)], (x, y)), paint.main)
        parts.solid(1)
        _abutment(parts, paint, x * 1.35, half, deck)
    lines = [_truss(parts, paint, y, span, (deck, top)) for y in (-half, half)]
    parts.solid(1)
    parts.add(struts(lines[0][1:-1], lines[1][1:-1]), paint.trim * 0.85, width=0.008)
    return parts.model()


def _truss(
    parts: Parts, paint: Paint, y: float, span: float, heights: tuple[float, float]
) -> Array:
    """The arch of one side and its hangers; returns the points (N, 3) of its upper chord."""
    deck, top = heights
    x = np.linspace(-span, span, 19)
    share = 1 - (x / span) ** 2
    low = 0.04 + (top - 0.1) * share
    high = deck + 0.1 + (top - deck - 0.1) * share
    lower = np.stack((x, np.full_like(x, y), low), axis=1)
    upper = np.stack((x, np.full_like(x, y), high), axis=1)
    hung = lower[low > deck + 0.05]
    foot = hung.copy()
    foot[:, 2] = deck
    parts.solid(1)
    parts.add(struts(hung, foot), paint.trim, width=0.007)
    parts.add(struts(lower, upper), paint.trim, width=0.009)
    parts.add(struts(lower[:10], np.roll(upper, -1, axis=0)[:10]), paint.trim, width=0.008)
    parts.add(struts(lower[9:], np.roll(upper, 1, axis=0)[9:]), paint.trim, width=0.008)
    parts.add(chain(lower), paint.trim, width=0.028)
    parts.add(chain(upper), paint.trim, width=0.022)
    return upper
