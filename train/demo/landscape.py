"""Sky, ground and what stands on the horizon."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from .light import Brush, Light, mottle, ragged
from .parts import Array

_GROUNDS = np.array(
    [
        (0.36, 0.48, 0.24),  # grass
        (0.52, 0.53, 0.30),  # dry grass
        (0.76, 0.66, 0.47),  # sand
        (0.60, 0.58, 0.55),  # paving
        (0.45, 0.40, 0.34),  # earth
        (0.86, 0.88, 0.92),  # snow
    ]
)
_WATER = np.array((0.22, 0.36, 0.44))
_GREENS = np.array(((0.20, 0.34, 0.16), (0.28, 0.40, 0.18), (0.36, 0.40, 0.20), (0.16, 0.28, 0.20)))

Field = npt.NDArray[np.float32]


def paint_backdrop(rng: np.random.Generator, brush: Brush, horizon: float, *, water: bool) -> None:
    """Cover the canvas with sky and ground that meet at `horizon` (heights of the frame)."""
    light = brush.light
    # Sky and ground are soft: painted small, then carried onto the canvas by the map itself.
    rows = max(round(brush.scale / 3), 8)
    margin = rows // 10
    columns = round(rows * brush.aspect) + 2 * margin
    level = ((np.arange(rows + 2 * margin) + 0.5 - margin) / rows).astype(np.float32)
    above = int(np.searchsorted(level, horizon))
    halves = []
    if above > 0:
        climb = (horizon - level[:above]) / 0.9
        halves.append(_sky(rng, light, climb, columns))
    if above < len(level):
        down = (level[above:] - horizon) / 0.6
        halves.append(_ground(rng, light, down, columns, water=water))
    small = cv2.convertScaleAbs(np.concatenate(halves), alpha=255.0)
    from_small = np.array(((1 / rows, 0.0), (0.0, 1 / rows)))
    matrix = np.empty((2, 3))
    matrix[:, :2] = brush.to_canvas[:, :2] @ from_small
    matrix[:, 2] = brush.to_canvas[:, 2] + matrix[:, :2] @ (0.5 - margin, 0.5 - margin)
    size = (brush.canvas.shape[1], brush.canvas.shape[0])
    cv2.warpAffine(small, matrix, size, brush.canvas, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)


def _sky(rng: np.random.Generator, light: Light, climb: Field, columns: int) -> Field:
    """The sky, (rows, columns, 3). climb: (rows,), 0 at the horizon, 1 at the zenith."""
    shape = (len(climb), columns)
    share = np.clip(climb, 0.0, 1.0)[:, None, None] ** np.float32(0.8)
    gradient = light.horizon + (light.zenith - light.horizon) * share
    sky = np.broadcast_to(gradient, (*shape, 3)).astype(np.float32)
    kind = rng.random()
    if kind < 0.7:
        cover = np.float32(rng.uniform(0.35, 0.62))
        noise = mottle(rng, shape, (4, 2) if rng.random() < 0.6 else (3, 4), 4)
        cloud = np.clip((noise - cover) * np.float32(rng.uniform(3.0, 8.0)), 0.0, 1.0)
        cloud *= np.float32(rng.uniform(0.4, 0.9))
        bright = np.minimum(light.ambient + light.direct * 0.75, 1.0) * rng.uniform(0.88, 1.0)
        sky += (bright.astype(np.float32) - sky) * cloud[..., None]
    if light.night and kind < 0.5:
        sky[rng.random(shape) < 0.004] += 0.35
    return sky


def _ground(
    rng: np.random.Generator, light: Light, down: Field, columns: int, *, water: bool
) -> Field:
    """Land or water, (rows, columns, 3). down: (rows,), 0 at the horizon, 1 near the camera."""
    shape = (len(down), columns)
    near = np.clip(down, 0.0, 1.0)[:, None]
    if water:
        mirrored = (light.horizon + light.zenith) / 2
        base = _WATER * (light.ambient + 0.5 * light.direct) * 0.6 + mirrored * 0.4
        noise, strength = mottle(rng, shape, (24, 3), 2), 0.35
    else:
        albedo = _GROUNDS[rng.integers(len(_GROUNDS))] * rng.uniform(0.85, 1.12, 3)
        base = albedo * (light.ambient + light.direct * max(float(light.sun[2]), 0.3))
        noise, strength = mottle(rng, shape, (8, 3), 3), rng.uniform(0.1, 0.5)
    veil = np.float32(0.45 + 0.4 * light.haze) * (1 - near) ** 3
    texture = 1 + (noise - np.float32(0.5)) * np.float32(strength) * (near + np.float32(0.4))
    land = (texture * (1 - veil))[..., None] * base.astype(np.float32)
    land += veil[..., None] * light.horizon.astype(np.float32)
    return np.asarray(land)


def paint_horizon(rng: np.random.Generator, brush: Brush, horizon: float) -> None:
    """Paint hills, far woods or a far town along the horizon, one behind the other."""
    if rng.random() < 0.6:
        green = _GREENS[rng.integers(len(_GREENS))]
        blue = green * 0.6 + np.array((0.35, 0.40, 0.50)) * 0.4
        for far, tall in ((0.6, rng.uniform(0.06, 0.28)), (0.38, rng.uniform(0.02, 0.12))):
            _ridge(rng, brush, horizon, tall, brush.light.tone(blue, 0.4, far))
    kind = rng.random()
    if kind < 0.4:
        _town(rng, brush, horizon)
    elif kind < 0.85:
        green = _GREENS[rng.integers(len(_GREENS))]
        tone = brush.light.tone(green, 0.3, float(rng.uniform(0.15, 0.4)))
        _ridge(rng, brush, horizon, rng.uniform(0.02, 0.07), tone, rough=0.95)


def _ridge(
    rng: np.random.Generator,
    brush: Brush,
    horizon: float,
    tall: float,
    tone: tuple[float, ...],
    rough: float = 0.45,
) -> None:
    count = 40
    x = np.linspace(-0.2, brush.aspect + 0.2, count)
    line = horizon - tall * ragged(rng, count, rough)
    foot = np.array(((x[-1], horizon + 0.004), (x[0], horizon + 0.004)))
    brush.polygon(np.concatenate((np.stack((x, line), axis=1), foot)), tone)


def _town(rng: np.random.Generator, brush: Brush, horizon: float) -> None:
    tall = rng.uniform(0.05, 0.16)
    far = float(rng.uniform(0.25, 0.5))
    x = -0.15
    while x < brush.aspect + 0.15:
        wide = rng.uniform(0.03, 0.11)
        top = horizon - tall * rng.uniform(0.3, 1.0)
        stone = np.full(3, rng.uniform(0.35, 0.75)) * rng.uniform(0.9, 1.1, 3)
        _house_front(brush, (x, top, x + wide, horizon + 0.004), brush.light.tone(stone, 0.5, far))
        x += wide * rng.uniform(0.8, 1.3)


def _house_front(
    brush: Brush, place: tuple[float, float, float, float], tone: tuple[float, ...]
) -> None:
    left, top, right, foot = place
    brush.polygon(np.array(((left, top), (right, top), (right, foot), (left, foot))), tone)
    if not brush.light.night:
        return
    rows = np.arange(top + 0.012, foot - 0.012, 0.022)
    for y in rows[::2]:
        middle = left + (right - left) * (0.3 if int(y * 97) % 2 else 0.65)
        pane = np.array(((0, 0), (0.008, 0), (0.008, 0.008), (0, 0.008)))
        brush.polygon(pane + np.array((middle, y)), (235.0, 190.0, 110.0))


def darken_ground(
    canvas: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], strength: float
) -> None:
    """Darken the canvas (H, W, 3) in place where the mask (h, w) is 255, with soft edges."""
    soft = cv2.GaussianBlur(mask, (0, 0), 0.8)
    rows = np.flatnonzero(soft.max(axis=1))
    if not len(rows):
        return
    step = canvas.shape[0] / mask.shape[0]
    low, high = int(rows[0] * step), int(np.ceil((rows[-1] + 1) * step))
    part = soft[rows[0] : rows[-1] + 1]
    keep = cv2.resize(
        255 - cv2.convertScaleAbs(part, alpha=strength), (canvas.shape[1], high - low)
    )
    band = canvas[low:high]
    cv2.multiply(band, cv2.merge((keep, keep, keep)), band, 1 / 255)


def paint_path(rng: np.random.Generator, brush: Brush, horizon: float, towards: float) -> None:
    """Paint a path or a canal from the lower edge towards the subject."""
    foot = rng.uniform(0.1, 0.9) * brush.aspect
    wide, far = rng.uniform(0.08, 0.25), rng.uniform(0.005, 0.02)
    bend = rng.uniform(-0.1, 0.1)
    share = np.linspace(0.0, 1.0, 7)
    y = horizon + 0.02 + (1.15 - horizon) * share**1.5
    middle = towards + (foot - towards) * share + bend * np.sin(np.pi * share)
    half = far + (wide - far) * share**1.5
    edges: Array = np.concatenate(
        (np.stack((middle - half, y), axis=1), np.stack((middle + half, y), axis=1)[::-1])
    )
    albedo = _GROUNDS[rng.integers(len(_GROUNDS))] * rng.uniform(0.8, 1.0)
    brush.polygon(edges, brush.light.tone(albedo, 0.6, 0.1))
