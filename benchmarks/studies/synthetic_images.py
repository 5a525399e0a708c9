"""Images without a photographer: drawings, noise with the spectrum of photographs, dead leaves.

All are (N, 224, 224, 3) uint8 RGB and depend on their seed alone.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from lmedge.image import Resize, prepare
from lmedge.train import demo

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
SIZE = 224
DRAWN = (320, 256)  # width and height of a drawing before it is made square
WITHOUT = 6  # each of so many drawings shows no monument


def drawings(count: int, seed: int = 0) -> Images:
    """Draw the demo's monuments in turn, and now and then a village or a landscape."""
    names = [name for group in demo.MONUMENTS.values() for name in group]
    found = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        if number % WITHOUT == WITHOUT - 1:
            image = demo.draw_unknown(rng, DRAWN)
        else:
            image = demo.draw_monument(names[number % len(names)], rng, DRAWN)
        found.append(prepare(image, SIZE, Resize.SQUASH))
    return np.stack(found)


def spectra(count: int, seed: int = 0) -> Images:
    """Make coloured noise whose amplitude falls with the frequency, as that of photographs.

    The exponent is 0.8 to 1.5; about 1.1 is that of photographs (Torralba and Oliva 2003).
    """
    found = []
    for number in range(count):
        rng = np.random.default_rng([seed, 1, number])
        power = rng.uniform(0.8, 1.5)
        light = _noise(rng, power) * rng.uniform(25, 70) + rng.uniform(60, 180)
        blue, red = (_noise(rng, power) * rng.uniform(2, 20) + rng.normal(0, 12) for _ in range(2))
        found.append(_rgb(light, blue, red).astype(np.uint8))
    return np.stack(found)


def dead_leaves(count: int, seed: int = 0) -> Images:
    """Lay discs and polygons over one another, their sizes by a power law (Lee et al. 2001)."""
    return np.stack([_leaves(np.random.default_rng([seed, 2, n])) for n in range(count)])


def mixed(count: int, seed: int = 0) -> Images:
    """Return drawings, dead leaves and spectra in turn, drawings every second time."""
    kinds = (drawings, dead_leaves, drawings, spectra)
    each = -(-count // len(kinds))
    parts = [kind(each, seed + number) for number, kind in enumerate(kinds)]
    return np.stack([image for row in zip(*parts, strict=True) for image in row])[:count]


KINDS: dict[str, Callable[[int], Images]] = {
    "drawings": drawings,
    "spectra": spectra,
    "dead leaves": dead_leaves,
    "mixed": mixed,
}


def _leaves(rng: np.random.Generator, side: int = 2 * SIZE, leaves: int = 900) -> Images:
    canvas = np.full((side, side, 3), _colour(rng), np.float32)
    smallest, largest = 6.0, 0.6 * side
    share = rng.random(leaves)
    radii = (smallest**-2 + share * (largest**-2 - smallest**-2)) ** -0.5  # density r^-3
    for radius in radii:
        colour, centre = _colour(rng).tolist(), rng.uniform(-0.1 * side, 1.1 * side, 2)
        corners = int(rng.integers(2, 7))
        if corners == 2:
            x, y = centre.astype(int).tolist()
            cv2.circle(canvas, (x, y), int(radius), colour, -1, cv2.LINE_AA)
            continue
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        flat = np.array([1.0, rng.uniform(0.2, 1.0)])
        points = centre + np.stack([np.cos(angles), np.sin(angles)], 1) * radius * flat
        cv2.fillPoly(canvas, [points.astype(np.int32)], colour, cv2.LINE_AA)
    grain = cv2.resize(_noise(rng, rng.uniform(0.6, 1.2)), (side, side))
    canvas += (grain * rng.uniform(0, 25))[..., None].astype(np.float32)
    blurred = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.3, 1.5))
    small = cv2.resize(blurred, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return np.clip(small, 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, power: float) -> Floats:
    """Return (SIZE, SIZE) noise of mean 0 and deviation 1 with amplitudes f^-power."""
    rows, columns = np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE)[None]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    found = np.fft.ifft2(np.fft.fft2(rng.standard_normal((SIZE, SIZE))) * frequency**-power).real
    return np.asarray(found / found.std(), np.float64)


def _colour(rng: np.random.Generator) -> Floats:
    """Return an RGB colour as photographs have them: little saturated, light or dark."""
    light = np.array(rng.beta(1.2, 1.4) * 255)
    return _rgb(light, np.array(rng.normal(0, 18)), np.array(rng.normal(0, 18)))


def _rgb(light: Floats, blue: Floats, red: Floats) -> Floats:
    """Return RGB, 0..255, of luminance and colour differences (ITU-R BT.601)."""
    green = light - 0.344 * blue - 0.714 * red
    found = np.stack([light + 1.402 * red, green, light + 1.772 * blue], -1)
    return np.asarray(np.clip(found, 0, 255), np.float64)
