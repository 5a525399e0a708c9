"""The camera: the place of a model in the image, and the painting of it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .light import Light
from .parts import Array, Model

RgbImage = npt.NDArray[np.uint8]

_SHIFT = 4  # Corners are given to OpenCV in sixteenths of a pixel.
_LAMP = np.array((1.0, 0.82, 0.5))
_BARE = 0.62  # A round bar has no one normal: the share of the sun it catches on average.


@dataclass(frozen=True)
class Stance:
    """The usual way to photograph a subject.

    yaw: farthest turn to either side, in radians; rise: lowest and highest eye as shares of the
    subject's height; wet: probability that it stands in water.
    """

    yaw: float
    rise: tuple[float, float]
    wet: float = 0.04


@dataclass(frozen=True)
class Viewpoint:
    """A level camera in front of the turned model.

    Plane coordinates are in heights of the frame: (0, 0) top left, (aspect, 1) bottom right.
    turn: (3, 3) rotation of the model; distance, eye: of the camera, in the model's units; focal:
    in frame heights; centre: (2,) where the camera points, on the horizon; ground: height in the
    plane of the foot of the model; extent: (4,) left, top, right, bottom of the model.
    """

    turn: Array
    distance: float
    eye: float
    focal: float
    centre: Array
    ground: float
    extent: Array

    def project(self, points: Array) -> tuple[Array, Array]:
        """Plane coordinates (..., 2) and depths (...) of turned points (..., 3)."""
        depth = np.maximum(points[..., 1] + self.distance, self.distance * 0.12)
        plane = np.empty((*points.shape[:-1], 2))
        plane[..., 0] = self.centre[0] + self.focal * points[..., 0] / depth
        plane[..., 1] = self.centre[1] - self.focal * (points[..., 2] - self.eye) / depth
        return plane, depth


def choose_viewpoint(
    model: Model,
    stance: Stance,
    rng: np.random.Generator,
    aspect: float,
    fill: tuple[float, float],
) -> Viewpoint:
    """Draw a viewpoint; the model then spans the share `fill` of the frame in its longer way."""
    angle = float(rng.uniform(-stance.yaw, stance.yaw))
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array(((cos, -sin, 0.0), (sin, cos, 0.0), (0.0, 0.0, 1.0)))
    points = model.faces.reshape(-1, 3) @ turn.T
    low, high = points.min(axis=0), points.max(axis=0)
    radius = float(-low[1])
    size = max(float(high[0] - low[0]), float(high[2]))
    distance = radius + size * float(rng.uniform(0.9, 2.4))
    eye = float(high[2] * rng.uniform(*stance.rise))
    flat, _ = Viewpoint(turn, distance, eye, 1.0, np.zeros(2), 0.0, np.zeros(4)).project(points)
    first, last = np.asarray(flat.min(axis=0)), np.asarray(flat.max(axis=0))
    frame = np.array((aspect, 1.0))
    focal = float(rng.uniform(*fill) * (frame / (last - first)).min())
    slack = np.maximum((frame - focal * (last - first)) / 2, 0.03)
    middle = frame * (0.5, 0.52) + slack * rng.uniform(-0.45, 0.45, 2)
    centre = np.asarray(middle - focal * (first + last) / 2)
    extent = np.concatenate((centre + focal * first, centre + focal * last))
    foot = float(centre[1] + focal * eye / distance)
    return Viewpoint(turn, distance, eye, focal, centre, foot, extent)


def paint_model(
    canvas: RgbImage, to_canvas: Array, model: Model, view: Viewpoint, light: Light
) -> None:
    """Paint the model onto the canvas (H, W, 3) uint8 RGB, in place, far faces first.

    to_canvas: (2, 3) affine map from the plane to canvas pixels.
    """
    faces = model.faces @ view.turn.T
    normals = _normals(faces)
    centres = faces.mean(axis=1)
    to_eye = np.array((0.0, -view.distance, view.eye)) - centres
    bars = model.width > 0
    seen = np.flatnonzero(((normals * to_eye).sum(axis=1) > 0) | bars)
    if not len(seen):
        return
    order = seen[_back_to_front(model, view, np.linalg.norm(to_eye, axis=1), seen)]
    plane, depth = view.project(faces[order])
    corners = plane @ to_canvas[:, :2].T + to_canvas[:, 2]
    scale = float(np.sqrt(abs(np.linalg.det(to_canvas[:, :2]))))
    _widen(corners, model.width[order] * view.focal / depth[:, 0] * scale)
    colours = _colours(model, order, normals[order], light)
    fixed = np.rint(corners * (1 << _SHIFT)).astype(np.int32)
    for polygon, colour in zip(fixed, colours.tolist(), strict=True):
        cv2.fillConvexPoly(canvas, polygon, colour, cv2.LINE_8, _SHIFT)


def paint_shadow(
    mask: RgbImage, to_mask: Array, model: Model, view: Viewpoint, light: Light
) -> None:
    """Fill the shadow the model casts on the ground with 255 in a mask (H, W) uint8, in place."""
    faces = model.faces @ view.turn.T
    catching = (_normals(faces) @ light.sun > 0) | (model.width > 0.01)
    cast = faces[catching]
    # A low sun would throw the shadow out of the image; nobody misses the rest of it.
    run = light.sun[:2] / max(float(light.sun[2]), 0.3)
    cast[..., :2] -= cast[..., 2:] * run
    cast[..., 2] = 0.0
    plane, depth = view.project(cast)
    corners = plane @ to_mask[:, :2].T + to_mask[:, 2]
    _widen(corners, model.width[catching] * view.focal / depth[:, 0] * abs(to_mask[0, 0]))
    fixed = np.rint(corners * (1 << _SHIFT)).astype(np.int32)
    for polygon in fixed:
        cv2.fillConvexPoly(mask, polygon, (255,), cv2.LINE_8, _SHIFT)


def _normals(faces: Array) -> Array:
    """Unit normals (N, 3) of (N, 4, 3); NumPy's own cross product is several times slower."""
    a, b = faces[:, 2] - faces[:, 0], faces[:, 3] - faces[:, 1]
    out = np.empty_like(a)
    out[:, 0] = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
    out[:, 1] = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
    out[:, 2] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return np.asarray(out / np.maximum(np.sqrt((out * out).sum(axis=1)), 1e-12)[:, None])


def _back_to_front(
    model: Model, view: Viewpoint, distances: Array, seen: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    solids = np.bincount(model.solid, distances) / np.maximum(np.bincount(model.solid), 1)
    heights = model.faces[:, :, 2]
    tiers = int(model.tier.max()) + 1
    floor, ceiling = np.full(tiers, np.inf), np.full(tiers, -np.inf)
    np.minimum.at(floor, model.tier, heights.min(axis=1))
    np.maximum.at(ceiling, model.tier, heights.max(axis=1))
    off = np.maximum(np.maximum(floor - view.eye, view.eye - ceiling), 0.0)
    keys = (-distances, model.layer, model.solid, -solids[model.solid], -off[model.tier])
    return np.lexsort(tuple(key[seen] for key in keys))


def _widen(corners: Array, widths: Array) -> None:
    """Give the bars among the corners (N, 4, 2) their thickness in pixels, in place."""
    bars = np.flatnonzero(widths > 0)
    along = corners[bars, 1] - corners[bars, 0]
    length = np.maximum(np.sqrt((along * along).sum(axis=1)), 1e-9)
    across = np.stack((-along[:, 1], along[:, 0]), axis=1) / length[:, None]
    # A bar thinner than a pixel would break up into dots.
    across *= np.maximum(widths[bars], 0.7)[:, None] / 2
    corners[bars, :2] += across[:, None]
    corners[bars, 2:] -= across[:, None]


def _colours(model: Model, order: npt.NDArray[np.intp], normals: Array, light: Light) -> Array:
    albedo = model.colours[order]
    bars = model.width[order] > 0
    shaded = light.shade(albedo, normals)
    flat = albedo[bars] * (light.ambient + light.direct * _BARE)
    shaded[bars] = flat + (light.horizon - flat) * light.haze
    if light.night:
        shaded[model.glow[order]] = _LAMP
    return np.asarray(np.clip(shaded, 0.0, 1.0) * 255.0)
