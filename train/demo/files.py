"""Drawn images as a folder of JPEG files, and as one sheet to look at."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from .monuments import MONUMENTS, SIZE, draw

_QUALITY = 92
_CAPTION = 16


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
            image = draw(landmark, _generator(seed, landmark, index), size)
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
            row = np.hstack([draw(landmark, _generator(seed, landmark, i), size) for i in numbers])
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
