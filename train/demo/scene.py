"""One scene: a subject or none, its surroundings, the light, the camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .foreground import paint_before, paint_behind
from .landscape import darken_ground, paint_backdrop, paint_horizon, paint_path
from .light import Brush, choose_light
from .parts import Array, Model
from .view import Stance, choose_viewpoint, paint_model, paint_shadow

RgbImage = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Lens:
    """The image quality of one camera.

    curves: (1, 256, 3) uint8, the tone curve of each channel; blur: standard deviation in shares
    of the image's height; noise: standard deviation in levels of 255.
    """

    curves: RgbImage
    blur: float
    noise: float

    def take(self, image: RgbImage, rng: np.random.Generator) -> RgbImage:
        """Return the image (H, W, 3) uint8 RGB as this camera gives it, with fresh noise."""
        out = cv2.LUT(image, self.curves)
        sigma = self.blur * out.shape[0]
        if sigma > 0.25:
            out = cv2.GaussianBlur(out, (0, 0), sigma)
        if self.noise > 0.5:
            grain = np.asarray(rng.standard_normal(image.shape, np.float32))
            out = cv2.add(out, grain * np.float32(self.noise), dtype=cv2.CV_8U)
        return np.asarray(out, np.uint8)


def choose_lens(rng: np.random.Generator) -> Lens:
    """Draw exposure, contrast, white balance, sharpness and noise."""
    levels = np.linspace(0.0, 1.0, 256)[:, None]
    gamma = rng.uniform(0.82, 1.15)
    gain = rng.uniform(0.85, 1.12) * rng.uniform(0.94, 1.06, 3)
    contrast, fog = rng.uniform(0.85, 1.12), rng.uniform(-0.03, 0.06)
    curve: Array = (levels**gamma - 0.5) * contrast + 0.5 + fog
    blur = rng.uniform(0.0, 0.003) if rng.random() < 0.85 else rng.uniform(0.003, 0.006)
    return Lens(
        curves=np.clip(curve * gain * 255.0, 0, 255).astype(np.uint8)[None],
        blur=float(blur),
        noise=float(rng.uniform(0.0, 5.0)),
    )


_SUPERSAMPLE = 2
_BANK = 0.97
FILL = (0.8, 1.0)
"""Share of the frame a subject spans in its longer way."""


@dataclass(frozen=True)
class Scene:
    """A painted scene before the camera takes it.

    image: (H, W, 3) uint8 RGB; extent: (4,) left, top, right, bottom of the subject in pixels;
    lens: how the camera sees it.
    """

    image: RgbImage
    extent: Array
    lens: Lens


def paint_scene(
    model: Model | None,
    stance: Stance,
    rng: np.random.Generator,
    size: tuple[int, int],
    *,
    fill: tuple[float, float] = FILL,
    busy: float = 0.25,
) -> Scene:
    """Paint a scene of the size (width, height); without a model only the landscape."""
    width, height = size
    aspect = width / height
    light = choose_light(rng)
    canvas = np.empty((height * _SUPERSAMPLE, width * _SUPERSAMPLE, 3), np.uint8)
    tilt = _tilt(rng, aspect)
    brush = Brush(canvas, tilt * (height * _SUPERSAMPLE), aspect, light)
    view = None if model is None else choose_viewpoint(model, stance, rng, aspect, fill)
    horizon = float(rng.uniform(0.35, 0.8)) if view is None else float(view.centre[1])
    ground = horizon + 0.08 if view is None else view.ground
    towards = float(rng.uniform(0.2, 0.8)) * aspect if view is None else float(view.centre[0])
    water = bool(rng.random() < stance.wet)
    paint_backdrop(rng, brush, horizon, water=water)
    paint_horizon(rng, brush, horizon)
    if not water and rng.random() < 0.35:
        paint_path(rng, brush, horizon, towards)
    if not water:
        paint_behind(rng, brush, horizon, ground)
    if model is not None and view is not None:
        if light.shadow > 0.2:
            mask = np.zeros((height, width), np.uint8)
            paint_shadow(mask, tilt * height, model, view, light)
            darken_ground(canvas, mask, light.shadow)
        paint_model(canvas, brush.to_canvas, model, view, light)
    # In water nothing stands before the subject but what grows on the near bank.
    paint_before(rng, brush, _BANK if water else ground, busy)
    image = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    extent = np.zeros(4) if view is None else _moved(view.extent, tilt) * height
    return Scene(np.asarray(image, np.uint8), extent, choose_lens(rng))


def _tilt(rng: np.random.Generator, aspect: float) -> Array:
    """A (2, 3) map of the plane that rolls, shears and at times mirrors it about its middle."""
    roll, shear = rng.normal(0.0, 0.025), rng.uniform(-0.05, 0.05)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    linear = np.array(((np.cos(roll), -np.sin(roll)), (np.sin(roll), np.cos(roll))))
    linear = linear @ np.array(((mirror, shear), (0.0, 1.0)))
    middle = np.array((aspect / 2, 0.5))
    return np.concatenate((linear, (middle - linear @ middle)[:, None]), axis=1)


def _moved(extent: Array, tilt: Array) -> Array:
    """The upright rectangle (left, top, right, bottom) around a rectangle that was tilted."""
    left, top, right, bottom = extent
    corners = np.array(((left, top), (right, top), (right, bottom), (left, bottom)))
    moved = corners @ tilt[:, :2].T + tilt[:, 2]
    return np.concatenate((moved.min(axis=0), moved.max(axis=0)))
