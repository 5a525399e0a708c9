"""Augmentation: random views of an image, different in each epoch, and fixed copies.

Crop, rotation, flip and resize are one affine map, so that a pixel is interpolated once. Colour
follows in float. Each view is a function of its random generator alone.
"""

from __future__ import annotations

import concurrent.futures
import math
import os
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from lmedge.image import RgbImage

from ..arrays import Floats, normalise
from ..data.store import ImageEntry, ImageStore
from ..recipes.sections import AugmentSettings

WORKERS = os.cpu_count() or 1
NOISE_VARIANCE = 0.2  # of the study's noisy copy, pixels in 0..1


def random_stream(*numbers: int) -> np.random.Generator:
    """Return a generator of its own for each combination; numbers below zero are fine."""
    return np.random.default_rng([number & 0xFFFFFFFF for number in numbers])


def random_order(count: int, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return the indices of `count` images in the order of an epoch, (count,)."""
    return random_stream(seed, epoch).permutation(count)


class RandomViews:
    """Random views of images in one epoch; each depends on seed, epoch and its own numbers."""

    def __init__(
        self,
        store: ImageStore,
        entries: Sequence[ImageEntry],
        settings: AugmentSettings,
        *,
        seed: int,
        epoch: int,
    ) -> None:
        self._store, self._entries, self._settings = store, entries, settings
        self._seed, self._epoch = seed, epoch
        self._pool = concurrent.futures.ThreadPoolExecutor(WORKERS)

    def inputs(self, numbers: Sequence[tuple[int, ...]]) -> Floats:
        """Return (N, S, S, 3) float32 network inputs of N views.

        Args:
            numbers: an image's index each, and further numbers that tell its views apart.
        """
        return normalise(np.stack(list(self._pool.map(self._view, numbers))))

    def _view(self, numbers: tuple[int, ...]) -> RgbImage:
        rng = random_stream(self._seed, self._epoch, *numbers)
        image = self._store.working(self._entries[numbers[0]])
        return random_view(image, self._store.size, self._settings, rng)


def random_view(
    image: RgbImage, size: int, settings: AugmentSettings, rng: np.random.Generator
) -> RgbImage:
    """Return a random view of `image`, (H, W, 3) uint8 RGB: (size, size, 3) uint8 RGB."""
    view = cv2.warpAffine(
        image,
        _random_map(image.shape[0], image.shape[1], size, settings, rng),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return _random_colour(view.astype(np.float32), settings, rng)


def fixed_copy(
    image: RgbImage, kind: str, settings: AugmentSettings, rng: np.random.Generator
) -> RgbImage:
    """Return one of the study's offline copies of `image`, (S, S, 3) uint8 RGB, same shape.

    kind: one of augment.copies. "rotation" turns by exactly rotation_degrees, the edge repeated;
    "noise" adds Gaussian noise of variance 0.2, pixels in 0..1.
    """
    if kind == "flip_left_right":
        return np.ascontiguousarray(image[:, ::-1])
    if kind == "flip_up_down":
        return np.ascontiguousarray(image[::-1])
    height, width = image.shape[:2]
    if kind == "rotation":
        middle = ((width - 1) / 2, (height - 1) / 2)
        turn = cv2.getRotationMatrix2D(middle, settings.rotation_degrees, 1.0)
        turned = cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(turned, np.uint8)
    noise = rng.normal(0, 255 * math.sqrt(NOISE_VARIANCE), image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def _random_map(
    height: int, width: int, size: int, settings: AugmentSettings, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the (2, 3) affine map from view coordinates to image coordinates."""
    side = min(height, width) * math.sqrt(rng.uniform(*settings.crop_scale))
    stretch = math.sqrt(math.exp(rng.uniform(-1, 1) * math.log(settings.crop_aspect)))
    crop_width, crop_height = min(width, side * stretch), min(height, side / stretch)
    centre_x = rng.uniform(crop_width / 2, width - crop_width / 2)
    centre_y = rng.uniform(crop_height / 2, height - crop_height / 2)
    angle = math.radians(rng.uniform(-1, 1) * settings.rotation_degrees)
    scale_x, scale_y = crop_width / size, crop_height / size
    if settings.flip_left_right and rng.random() < 0.5:
        scale_x = -scale_x
    if settings.flip_up_down and rng.random() < 0.5:
        scale_y = -scale_y
    linear = np.array(
        [
            [math.cos(angle) * scale_x, -math.sin(angle) * scale_y],
            [math.sin(angle) * scale_x, math.cos(angle) * scale_y],
        ]
    )
    middle = np.full(2, size / 2 - 0.5)
    offset = np.array([centre_x - 0.5, centre_y - 0.5]) - linear @ middle
    return np.concatenate([linear, offset[:, None]], axis=1)


def _random_colour(
    view: npt.NDArray[np.float32], settings: AugmentSettings, rng: np.random.Generator
) -> RgbImage:
    brightness, contrast, saturation = (
        1 + rng.uniform(-1, 1) * amount
        for amount in (settings.brightness, settings.contrast, settings.saturation)
    )
    view = view * np.float32(brightness)
    mean = view.mean(dtype=np.float64)
    view = (view - np.float32(mean)) * np.float32(contrast) + np.float32(mean)
    grey = view.mean(axis=2, keepdims=True)
    view = (view - grey) * np.float32(saturation) + grey
    return np.clip(np.rint(view), 0, 255).astype(np.uint8)
