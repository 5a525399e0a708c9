"""Trees, people and lamp posts, behind and in front of the subject."""

from __future__ import annotations

import numpy as np

from .light import Brush
from .parts import Array

_LEAVES = np.array(
    [
        (0.24, 0.40, 0.16),
        (0.34, 0.44, 0.18),
        (0.16, 0.30, 0.18),
        (0.52, 0.42, 0.16),
        (0.5, 0.27, 0.14),
    ]
)
_BARK = np.array((0.28, 0.22, 0.17))
_SKIN = np.array(((0.85, 0.66, 0.54), (0.62, 0.44, 0.32), (0.38, 0.26, 0.20)))
_LAMPLIGHT = (255.0, 226.0, 160.0)


def paint_behind(rng: np.random.Generator, brush: Brush, horizon: float, ground: float) -> None:
    """Paint a few trees and bushes between the horizon and the foot of the subject."""
    for _ in range(int(rng.integers(0, 5))):
        share = rng.uniform(0.3, 1.0)
        y = horizon + (max(ground, horizon + 0.01) - horizon) * share
        tall = rng.uniform(0.07, 0.26) * (0.5 + 0.5 * share)
        _tree(rng, brush, (rng.uniform(-0.05, brush.aspect + 0.05), y), tall, far=0.12)


def paint_before(rng: np.random.Generator, brush: Brush, ground: float, busy: float) -> None:
    """Paint what stands between the camera and the subject.

    busy: in [0, 1], how likely each kind of thing is; things in the middle stay small, so that
    they cover some of the subject and never most of it.
    """
    if rng.random() < busy:
        for _ in range(int(rng.integers(1, 4))):
            _bush(rng, brush, _spot(rng, brush, ground), rng.uniform(0.04, 0.1))
    if rng.random() < busy:
        for _ in range(int(rng.integers(1, 3))):
            x, y = _spot(rng, brush, ground)
            middle = 1.0 - min(abs(x / brush.aspect - 0.5) * 2.2, 1.0)
            tall = rng.uniform(0.25, 0.7) * (1.0 - 0.65 * middle)
            _tree(rng, brush, (x, y), tall, far=0.0)
    if rng.random() < busy:
        for _ in range(int(rng.integers(1, 4))):
            place = _spot(rng, brush, ground)
            _lamp(rng, brush, place, rng.uniform(0.2, 0.5))
    if rng.random() < busy:
        crowd = rng.uniform(0.05, 0.12)
        for _ in range(int(rng.integers(1, 9))):
            x, y = _spot(rng, brush, ground)
            _person(rng, brush, (x, y), crowd * (0.6 + 1.2 * (y - ground)))


def _spot(rng: np.random.Generator, brush: Brush, ground: float) -> tuple[float, float]:
    return rng.uniform(-0.05, brush.aspect + 0.05), rng.uniform(min(ground, 0.97) + 0.01, 1.08)


def _tree(
    rng: np.random.Generator, brush: Brush, foot: tuple[float, float], tall: float, far: float
) -> None:
    leaves = _LEAVES[rng.integers(len(_LEAVES))] * rng.uniform(0.8, 1.15)
    x, y = foot
    trunk = tall * 0.035
    stem = np.array(((x - trunk, y), (x + trunk, y), (x + trunk / 2, y - tall * 0.5)))
    brush.polygon(
        np.concatenate((stem, ((x - trunk / 2, y - tall * 0.5),))), _tone(brush, _BARK, far)
    )
    if rng.random() < 0.35:
        _conifer(brush, (x, y), tall, leaves, far)
    else:
        crown = np.array((x, y - tall * 0.66))
        _foliage(rng, brush, crown, (tall * rng.uniform(0.22, 0.34), tall * 0.33), leaves, far)


def _conifer(
    brush: Brush, foot: tuple[float, float], tall: float, leaves: Array, far: float
) -> None:
    x, y = foot
    for low, high, half in ((0.12, 0.55, 0.2), (0.36, 0.78, 0.155), (0.6, 1.0, 0.11)):
        left, tip = (x - half * tall, y - low * tall), (x, y - high * tall)
        right, middle = (x + half * tall, y - low * tall), (x, y - low * tall)
        brush.polygon(np.array((left, tip, right)), _tone(brush, leaves * 0.8, far))
        lit = right if brush.light.sun[0] > 0 else left
        brush.polygon(np.array((middle, tip, lit)), _tone(brush, leaves, far))


def _foliage(
    rng: np.random.Generator,
    brush: Brush,
    crown: Array,
    half: tuple[float, float],
    leaves: Array,
    far: float,
) -> None:
    """A crown as blobs, dark ones first, then lighter ones towards the sun."""
    count = 16
    angle = rng.uniform(0, 2 * np.pi, count)
    out = np.sqrt(rng.random(count)) * 0.72
    spread = np.stack((np.cos(angle), np.sin(angle)), axis=1) * out[:, None]
    radii = rng.uniform(0.3, 0.48, count) * min(half)
    step = np.linspace(0.0, 1.0, count)
    sunward = np.array((np.sign(brush.light.sun[0]) * 0.22, -0.25))
    centres = crown + (spread * (1 - 0.3 * step[:, None]) + sunward * step[:, None]) * half
    tones = [_tone(brush, leaves * (0.55 + 0.5 * share), far) for share in step.tolist()]
    brush.discs(centres, radii, tones)


def _bush(rng: np.random.Generator, brush: Brush, foot: tuple[float, float], size: float) -> None:
    leaves = _LEAVES[rng.integers(3)] * rng.uniform(0.7, 1.1)
    _foliage(rng, brush, np.array(foot), (size * rng.uniform(1.2, 2.0), size), leaves, 0.0)


def _lamp(rng: np.random.Generator, brush: Brush, foot: tuple[float, float], tall: float) -> None:
    x, y = foot
    iron = _tone(brush, np.full(3, rng.uniform(0.12, 0.3)), 0.0)
    brush.line(np.array(((x, y), (x, y - tall))), tall * 0.025, iron)
    head = np.array((x, y - tall))
    if rng.random() < 0.5:
        head[0] += rng.choice((-1.0, 1.0)) * tall * 0.16
        brush.line(np.array(((x, y - tall), head)), tall * 0.02, iron)
    lit = _LAMPLIGHT if brush.light.night else _tone(brush, np.array((0.8, 0.8, 0.76)), 0.0)
    brush.discs(head[None], np.array((tall * 0.04,)), [lit])


def _person(rng: np.random.Generator, brush: Brush, foot: tuple[float, float], tall: float) -> None:
    x, y = foot
    coat, legs = rng.uniform(0.1, 0.85, (2, 3)) * (1.0, 0.9, 0.9)
    half = tall * 0.15
    waist, neck = y - tall * 0.48, y - tall * 0.85
    gap = half * 0.8
    for side in (-1, 1):
        leg = np.array(((x + side * gap * 0.4, waist), (x + side * gap, y)))
        brush.line(leg, tall * 0.11, _tone(brush, legs * 0.6, 0.0))
    body = ((x - half * 0.8, waist), (x + half * 0.8, waist), (x + half, neck), (x - half, neck))
    brush.polygon(np.array(body), _tone(brush, coat, 0.0))
    skin = _tone(brush, _SKIN[rng.integers(len(_SKIN))], 0.0)
    brush.discs(np.array(((x, y - tall * 0.92),)), np.array((tall * 0.085,)), [skin])


def _tone(brush: Brush, albedo: Array, far: float) -> tuple[float, ...]:
    return brush.light.tone(albedo, 0.55, far)
