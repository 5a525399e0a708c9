"""Augmentation: random views of an image, different in each epoch, and fixed copies.

Crop, rotation, flip and resize are one affine map, so that a pixel is interpolated once; colour
follows in float. Each view is a function of its random generator alone.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from lmedge.image import RgbImage

from ..recipes.sections import Augment


def random_view(
    image: RgbImage, size: int, settings: Augment, rng: np.random.Generator
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


NOISE_VARIANCE = 0.2  # of the study's noisy copy, pixels in 0..1


def fixed_copy(image: RgbImage, kind: str, settings: Augment, rng: np.random.Generator) -> RgbImage:
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
    height: int, width: int, size: int, settings: Augment, rng: np.random.Generator
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
    view: npt.NDArray[np.float32], settings: Augment, rng: np.random.Generator
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
