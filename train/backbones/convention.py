"""The input convention of pretrained weights, folded into the first convolution.

The network's input is (pixel - PIXEL_MEAN) / PIXEL_SCALE, RGB. Pretrained weights expect other
means and scales, other orders of the channels too. All of that is affine and goes into the kernel
and the constant behind it. The border is not: a network that pads with zeros behind its input
convention pads with the colour that becomes zero. So the first convolution has a padding layer of
its own, which holds that colour.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from lmedge.errors import WeightsError
from lmedge.image import PIXEL_MEAN, PIXEL_SCALE

from ..backend import keras

Matrix = npt.NDArray[np.float64]
Images = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Stem:
    """Names of the first layers: BorderPad, convolution, and its batch norm, None without one."""

    pad: str
    conv: str
    norm: str | None


@dataclasses.dataclass(frozen=True)
class Convention:
    """y = matrix @ pixel + offset: the input of the first convolution of pretrained weights.

    matrix: (3, 3), rows by channel of y, columns R, G, B. offset: (3,). Pixels are 0..255.
    """

    matrix: Matrix
    offset: Matrix

    @classmethod
    def scaled(cls, mean: Sequence[float], scale: Sequence[float]) -> Convention:
        """Return y = (pixel - mean) / scale, RGB, each (3,)."""
        gain = 1.0 / np.asarray(scale, np.float64)
        return cls(np.diag(gain), -np.asarray(mean, np.float64) * gain)

    @classmethod
    def measured(cls, call: Callable[[Images], Images]) -> Convention:
        """Find the convention of `call` from its output for plain images, (N, 64, 64, 3).

        Raises WeightsError when it is not affine.
        """
        colours = np.array([[0, 0, 0], [200, 0, 0], [0, 200, 0], [0, 0, 200], [60, 180, 110]])
        images = np.broadcast_to(colours[:, None, None], (5, 64, 64, 3)).astype(np.float32)
        # In the middle: layers in front may have padded the border already.
        black, *primary, mixed = np.asarray(call(images), np.float64)[:, 32, 32]
        found = cls(np.stack([y - black for y in primary], axis=1) / 200.0, black)
        if not np.allclose(found.matrix @ colours[4] + black, mixed, rtol=1e-3, atol=1e-4):
            raise WeightsError(
                "the stock input layers are not affine; these weights are not supported"
            )
        return found

    def times(self, gain: Sequence[float]) -> Convention:
        """Return gain * y, by channel of y, (3,)."""
        factor = np.asarray(gain, np.float64)
        return Convention(factor[:, None] * self.matrix, factor * self.offset)

    @property
    def border(self) -> Matrix:
        """The pixel, (3,) RGB, for which y is zero."""
        return np.asarray(np.linalg.solve(self.matrix, -self.offset), np.float64)


def shrink_pixels(model: keras.Model, stem: Stem, factor: float) -> None:
    """Make a folded `model` compute as if its pixels were multiplied by `factor`.

    The colour of the border is multiplied back, as far as a byte can hold it.
    """
    pad, conv = model.get_layer(stem.pad), model.get_layer(stem.conv)
    shift = (
        PIXEL_MEAN * (factor - 1) / PIXEL_SCALE
    )  # x of the pixel that becomes (0 - mean) / scale
    border = (np.asarray(pad.get_weights()[0], np.float64) - shift) / factor
    low, high = ((value - PIXEL_MEAN) / PIXEL_SCALE for value in (0, 255))
    pad.set_weights([np.clip(border, low, high).astype(np.float32)])
    kernel = conv.get_weights()[0].astype(np.float64)
    _replace(model, stem, kernel * factor, kernel.sum(axis=(0, 1, 2)) * shift)


def fold(model: keras.Model, stem: Stem, convention: Convention) -> None:
    """Fold a convention into the stem of `model`, whose layers hold the pretrained weights.

    With pixel = scale x + mean: y = (matrix scale) x + (matrix mean + offset). The first factor
    goes into the kernel. The constant of each filter goes into the bias, or is subtracted from the
    batch-norm mean. The border is the colour for which y is zero.
    """
    pad, conv = model.get_layer(stem.pad), model.get_layer(stem.conv)
    pad.set_weights([((convention.border - PIXEL_MEAN) / PIXEL_SCALE).astype(np.float32)])
    kernel = conv.get_weights()[0].astype(np.float64)
    shift = convention.matrix @ np.full(3, PIXEL_MEAN) + convention.offset
    constant = np.einsum("hwcf,c->f", kernel, shift)
    folded = np.einsum("hwcf,cd->hwdf", kernel, convention.matrix * PIXEL_SCALE)
    _replace(model, stem, folded, constant)


def _replace(model: keras.Model, stem: Stem, kernel: Matrix, constant: Matrix) -> None:
    """Put a kernel into the stem and let its output grow by a constant of each filter, (F,)."""
    conv = model.get_layer(stem.conv)
    bias = (value.astype(np.float64) for value in conv.get_weights()[1:])
    conv.set_weights(
        [kernel.astype(np.float32), *((value + constant).astype(np.float32) for value in bias)]
    )
    if stem.norm is not None:
        norm = model.get_layer(stem.norm)
        gamma, beta, mean, variance = norm.get_weights()
        norm.set_weights([gamma, beta, (mean - constant).astype(np.float32), variance])
