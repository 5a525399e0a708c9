"""Changes of random views that other trainings use: TrivialAugment and RandAugment.

TrivialAugment (Müller and Hutter, arXiv:2103.10158) applies one random operation of random strength
to an image, RandAugment (Cubuk et al., arXiv:1909.13719) two of one strength. Crop and mirror image
come before, colours of `augment` do not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt

from lmedge.image import RgbImage
from lmedge.train.fitting.augment import random_view
from lmedge.train.recipes.sections import AugmentSettings

# (image, strength in -1..1) -> image
Operation = Callable[[RgbImage, float], RgbImage]
RAND_OPERATIONS, RAND_STRENGTH = 2, 0.3  # of the largest: magnitude 9 of 30


def _clipped(values: npt.NDArray[np.float32]) -> RgbImage:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _mixed(image: RgbImage, other: npt.NDArray[np.floating], strength: float) -> RgbImage:
    """Move away from `other`, or towards it: 1 + 0.9 strength times the difference."""
    start = np.asarray(other, np.float32)
    return _clipped(start + np.float32(1 + 0.9 * strength) * (image - start))


def _moved(image: RgbImage, linear: list[list[float]]) -> RgbImage:
    """Map about the middle of the image, with the border reflected."""
    side = image.shape[0]
    matrix = np.array(linear, np.float64)
    middle = np.full(2, (side - 1) / 2)
    matrix[:, 2] = matrix[:, 2] * side + middle - matrix[:, :2] @ middle
    moved = cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.uint8)


def _rotated(image: RgbImage, strength: float) -> RgbImage:
    angle = np.radians(30 * strength)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    return _moved(image, [[cos, -sin, 0], [sin, cos, 0]])


def _posterized(image: RgbImage, strength: float) -> RgbImage:
    bits = 8 - round(4 * abs(strength))
    return np.asarray(image & ((0xFF << (8 - bits)) & 0xFF), np.uint8)


def _solarized(image: RgbImage, strength: float) -> RgbImage:
    return np.where(image < 256 * (1 - abs(strength)), image, 255 - image).astype(np.uint8)


def _stretched(image: RgbImage, _: float) -> RgbImage:
    low, high = image.min((0, 1)).astype(np.float32), image.max((0, 1)).astype(np.float32)
    return _clipped((image - low) * (255 / np.maximum(high - low, 1)))


def _equalized(image: RgbImage, _: float) -> RgbImage:
    return np.stack([cv2.equalizeHist(image[..., channel]) for channel in range(3)], axis=2)


OPERATIONS: Mapping[str, Operation] = {
    "identity": lambda image, _: image,
    "brightness": lambda image, s: _mixed(image, np.zeros(1), s),
    "contrast": lambda image, s: _mixed(image, np.full(1, image.mean()), s),
    "saturation": lambda image, s: _mixed(image, image.mean(2, keepdims=True), s),
    "sharpness": lambda image, s: _mixed(image, cv2.blur(image, (3, 3)).astype(np.float32), s),
    "posterize": _posterized,
    "solarize": _solarized,
    "stretch": _stretched,
    "equalize": _equalized,
    "rotate": _rotated,
    "shear x": lambda image, s: _moved(image, [[1, 0.3 * s, 0], [0, 1, 0]]),
    "shear y": lambda image, s: _moved(image, [[1, 0, 0], [0.3 * s, 1, 0]]),
    "translate x": lambda image, s: _moved(image, [[1, 0, 0.15 * s], [0, 1, 0]]),
    "translate y": lambda image, s: _moved(image, [[1, 0, 0], [0, 1, 0.15 * s]]),
}


def _plain(settings: AugmentSettings) -> AugmentSettings:
    return dataclasses.replace(
        settings, rotation_degrees=0.0, brightness=0.0, contrast=0.0, saturation=0.0
    )


def trivial_view(
    image: RgbImage, size: int, settings: AugmentSettings, rng: np.random.Generator
) -> RgbImage:
    """Return a view as `random_view` does, (size, size, 3) uint8 RGB, after TrivialAugment."""
    view = random_view(image, size, _plain(settings), rng)
    name = rng.choice(list(OPERATIONS))
    return OPERATIONS[name](view, float(rng.uniform(-1, 1)))


def rand_view(
    image: RgbImage, size: int, settings: AugmentSettings, rng: np.random.Generator
) -> RgbImage:
    """Return a view as `random_view` does, (size, size, 3) uint8 RGB, after RandAugment."""
    view = random_view(image, size, _plain(settings), rng)
    for name in rng.choice(list(OPERATIONS), RAND_OPERATIONS):
        view = OPERATIONS[name](view, RAND_STRENGTH * float(rng.choice([-1, 1])))
    return view
