"""Drawings as a folder of JPEG files, as one contact sheet, and as a camera clip with its truth."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import numpy.typing as npt

from .monuments import MONUMENTS, SIZE, draw_monument, monument_scene, unknown_scene
from .parts import Array
from .scene import Scene

_QUALITY = 92
_CAPTION = 16
_SHOT = 30
_WIDER = 1.5  # The painted scene against the frame, so that there is somewhere to pan to.
_UNKNOWN = 1 / 6  # the share of shots without a landmark
RgbImage = npt.NDArray[np.uint8]


def write_data_set(
    folder: pathlib.Path,
    per_landmark: int,
    seed: int,
    *,
    size: tuple[int, int] = SIZE,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write `<category>/<landmark>/<landmark>-0001.jpg` and so on; returns how many.

    Image i of a landmark depends on (seed, landmark, i) only, so a larger set begins with the
    smaller one. size: (width, height) in pixels; progress: called with (written, total) after each
    image. A file appears under its name only when it is whole. Raises ValueError if per_landmark
    or the seed is negative, OSError if a file cannot be written.
    """
    if per_landmark < 0 or seed < 0:
        raise ValueError(f"per_landmark ({per_landmark}) and seed ({seed}) must not be negative")
    names = [(category, name) for category, group in MONUMENTS.items() for name in group]
    total = per_landmark * len(names)
    written = 0
    for category, landmark in names:
        place = folder / category / landmark
        place.mkdir(parents=True, exist_ok=True)
        for index in range(1, per_landmark + 1):
            image = draw_monument(landmark, _generator(seed, landmark, index), size)
            _write(place / f"{landmark}-{index:04d}.jpg", image)
            written += 1
            if progress is not None:
                progress(written, total)
    return written


def contact_sheet(
    seed: int,
    per_landmark: int = 6,
    *,
    size: tuple[int, int] = SIZE,
) -> npt.NDArray[np.uint8]:
    """The first images of `write_data_set` side by side, a row a landmark, its name below.

    size: (width, height) of one image in pixels. Returns (12 * (height + 16), per_landmark *
    width, 3) uint8 RGB. Raises ValueError if per_landmark is below 1 or the seed is negative.
    """
    if per_landmark < 1 or seed < 0:
        raise ValueError(
            f"per_landmark ({per_landmark}) must be positive, seed ({seed}) not below 0"
        )
    rows = []
    for category, group in MONUMENTS.items():
        for landmark in group:
            numbers = range(1, per_landmark + 1)
            row = np.hstack(
                [draw_monument(landmark, _generator(seed, landmark, i), size) for i in numbers]
            )
            caption = np.full((_CAPTION, row.shape[1], 3), 255, np.uint8)
            text, font = f"{category} / {landmark}", cv2.FONT_HERSHEY_SIMPLEX
            cv2.putText(caption, text, (4, 12), font, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
            rows += [row, caption]
    return np.vstack(rows)


def _generator(seed: int, landmark: str, index: int) -> np.random.Generator:
    # The name's bytes, for `hash` differs from one process to the next.
    return np.random.default_rng([seed, index, *landmark.encode()])


def _write(path: pathlib.Path, image: npt.NDArray[np.uint8]) -> None:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise OSError(f"{path}: OpenCV could not encode the image as JPEG")
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(data.tobytes())
    unfinished.replace(path)


def clip(
    seed: int, frames: int = 150, size: tuple[int, int] = (640, 480)
) -> Iterator[tuple[RgbImage, str | None]]:
    """Yield frames of a camera that pans and zooms over one scene after another.

    A shot lasts about 30 frames, then there is a cut to another landmark, now and then to a scene
    with none. size: (width, height) in pixels. Yields `frames` pairs of a frame (height, width, 3)
    uint8 RGB and the landmark in it, None for none. Raises ValueError if frames or the
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
        unknown = last is not None and rng.random() < _UNKNOWN
        label = None if unknown else str(rng.choice([name for name in names if name != last]))
        if label is None:
            scene = unknown_scene(rng, wide)
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
