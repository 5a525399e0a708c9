"""What the camera does to a picture: exposure, colour cast, blur, noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .parts import Array

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Lens:
    """How one camera sees.

    curves: (1, 256, 3) uint8, the tone curve of each channel; blur: standard deviation in shares
    of the picture's height; noise: standard deviation in levels of 255.
    """

    curves: Picture
    blur: float
    noise: float

    def take(self, picture: Picture, rng: np.random.Generator) -> Picture:
        """The picture (H, W, 3) uint8 RGB as this camera gives it, with fresh noise."""
        out = cv2.LUT(picture, self.curves)
        sigma = self.blur * out.shape[0]
        if sigma > 0.25:
            out = cv2.GaussianBlur(out, (0, 0), sigma)
        if self.noise > 0.5:
            grain = np.asarray(rng.standard_normal(picture.shape, np.float32))
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
