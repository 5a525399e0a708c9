"""A continuous camera clip over drawn scenes, with the truth of each frame."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from .monuments import MONUMENTS, monument_scene, stranger_scene
from .parts import Array
from .scene import Scene

_SHOT = 30
_WIDER = 1.5  # The painted scene against the frame, so that there is somewhere to pan to.
_STRANGERS = 1 / 6

RgbImage = npt.NDArray[np.uint8]


def clip(
    seed: int, frames: int = 150, size: tuple[int, int] = (640, 480)
) -> Iterator[tuple[RgbImage, str | None]]:
    """Yield frames of a camera that pans and zooms over one scene after another.

    A shot lasts about 30 frames, then there is a cut to another landmark, now and then to a scene
    with none. size: (width, height) in pixels. Yields `frames` pairs of a frame (height, width, 3)
    uint8 RGB and the landmark in it, None where there is none. Raises ValueError if frames or the
    seed is negative, or the size is below 16 pixels.
    """
    if frames < 0 or seed < 0:
        raise ValueError(f"frames ({frames}) and seed ({seed}) must not be negative")
    return _shots(np.random.default_rng(seed), frames, size)


def _shots(
    rng: np.random.Generator, frames: int, size: tuple[int, int]
) -> Iterator[tuple[RgbImage, str | None]]:
    names = [name for group in MONUMENTS.values() for name in group]
    wide = (round(size[0] * _WIDER), round(size[1] * _WIDER))
    last: str | None = None
    left = frames
    while left > 0:
        count = min(left, _SHOT + int(rng.integers(-5, 6)))
        left -= count
        # Only a landmark before it and none before the first: the clip opens on a monument.
        stranger = last is not None and rng.random() < _STRANGERS
        label = None if stranger else str(rng.choice([name for name in names if name != last]))
        if label is None:
            scene = stranger_scene(rng, wide)
        else:
            scene = monument_scene(label, rng, wide, fill=(0.45, 0.6))
        for frame in _shot(scene, rng, count, size):
            yield frame, label
        last = label


def _shot(
    scene: Scene, rng: np.random.Generator, count: int, size: tuple[int, int]
) -> Iterator[RgbImage]:
    """One shot: an eased move between two windows of the scene, held by an unsteady hand."""
    height, width = scene.image.shape[:2]
    start, end = (_window(scene, rng) for _ in range(2))
    sway = rng.uniform(0, 2 * np.pi, 2)
    for index in range(count):
        share = index / max(count - 1, 1)
        eased = share * share * (3 - 2 * share)
        x, y, part = start + (end - start) * eased
        x, y = np.array((x, y)) + 0.004 * np.sin(np.array((0.31, 0.43)) * index + sway)
        x, y = np.clip((x, y), part / 2, 1 - part / 2)
        scale = size[0] / (part * width)
        shift = np.array(size) / 2 - scale * np.array((x * width, y * height))
        matrix = np.array(((scale, 0, shift[0]), (0, scale, shift[1])))
        frame = cv2.warpAffine(
            scene.image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        yield scene.lens.take(np.asarray(frame, np.uint8), rng)


def _window(scene: Scene, rng: np.random.Generator) -> Array:
    """A window about the subject: its middle and its size, in shares of the scene. (3,)."""
    height, width = scene.image.shape[:2]
    left, top, right, bottom = scene.extent / (width, height, width, height)
    if right <= left:
        return np.array((*rng.uniform(0.35, 0.65, 2), rng.uniform(0.6, 0.9)))
    part = float(np.clip(max(right - left, bottom - top) / rng.uniform(0.66, 0.95), 0.45, 1.0))
    slack = max(part - max(right - left, bottom - top), 0.0) / 2
    middle = np.array((left + right, top + bottom)) / 2 + rng.uniform(-slack, slack, 2)
    return np.array((*middle, part))
