"""The sources of pretrained weights: a stock Keras model, or a bare file without one."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from lmedge.errors import WeightsError
from lmedge.regular import check_regular

from ..backend import keras
from .convention import Convention, Images, Stem, fold
from .hdf5 import check_hdf5, read_bare
from .tensors import LayoutError, layers_of

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
IMAGENET = "imagenet"


class Pretrained(Protocol):
    """The way to find the weights of one backbone and put them into its network."""

    @property
    def stem(self) -> Stem:
        """The layers that the input convention is folded into."""

    def check(self, backbone: str, weights: str, size: int | None = None) -> None:
        """Raise WeightsError for weights that a first look shows to be missing or wrong.

        size: the side of the images in pixels, if it is known.
        """

    def load(self, model: keras.Model, backbone: str, weights: str) -> None:
        """Put the weights into `model` and fold their input convention, or raise WeightsError.

        An error leaves the model as it was.
        """


@dataclasses.dataclass(frozen=True)
class Download:
    """The file Keras downloads, for a model that treats it otherwise than a file given by path.

    Keras multiplies the stock input by `gain`, (3,), for the download alone. The same file given
    by path is recognised by its MD5 and gets the gain too. `md5_top` is of the file with top.
    """

    md5: str
    gain: tuple[float, float, float]
    md5_top: str = ""

    def is_at(self, weights: str) -> bool:
        """Return true if the file at a path is the download."""
        with Path(weights).open("rb") as stream:
            return hashlib.file_digest(stream, "md5").hexdigest() == self.md5


@dataclasses.dataclass(frozen=True)
class StockModel:
    """A model of keras.applications: downloaded, or from its HDF5 file without top.

    Attributes:
        build: builds the model; takes include_top, weights and input_shape.
        stem: the layers that the input convention is folded into.
        preprocess: maps raw RGB pixels, (N, H, W, 3) float32, to the model's input; None for a
            model that does all of it.
        download: the file that Keras downloads, if it is treated in another way.
    """

    build: Callable[..., keras.Model]
    stem: Stem
    preprocess: Callable[[Images], Images] | None = None
    download: Download | None = None

    def check(self, backbone: str, weights: str, size: int | None = None) -> None:
        """Check the values of a file; a download is not tried."""
        if weights != IMAGENET:
            check_file(weights, backbone, f"a stock {backbone} file without top (.h5)")

    def load(self, model: keras.Model, backbone: str, weights: str) -> None:
        """Copy by layer name; the input convention is measured, not assumed.

        The input layers of one stock model differ between its two kinds of weights.
        """
        stock = self._stock(backbone, weights)
        convention = Convention.measured(self._front(stock))
        if weights != IMAGENET and self.download is not None and self.download.is_at(weights):
            convention = convention.times(self.download.gain)
        ours = {layer.name for layer in model.layers}
        for layer in stock.layers:
            if layer.name in ours and layer.weights:
                model.get_layer(layer.name).set_weights(layer.get_weights())
        fold(model, self.stem, convention)

    def _stock(self, backbone: str, weights: str) -> keras.Model:
        self.check(backbone, weights)
        try:
            return self.build(include_top=False, weights=weights, input_shape=(64, 64, 3))
        except Exception as error:  # Keras wraps a failed download in a bare Exception
            if weights != IMAGENET:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise WeightsError(
                    f"{weights} does not hold {backbone} weights without top: {reason}"
                ) from error
            raise WeightsError(
                "the ImageNet weights cannot be downloaded here; pass --weights PATH of a file "
                "that was fetched elsewhere, --weights none, or for efficientnetb0 --weights base "
                "that come with lmedge"
            ) from error

    def _front(self, stock: keras.Model) -> Callable[[Images], Images]:
        """Return the function of raw pixels that precedes the first convolution."""
        probe = keras.Model(stock.input, stock.get_layer(self.stem.conv).input)

        def front(pixels: Images) -> Images:
            given = pixels if self.preprocess is None else self.preprocess(pixels.copy())
            return np.asarray(probe(given), np.float32)

        return front


@dataclasses.dataclass(frozen=True)
class BareFile:
    """A Keras `.weights.h5` file of a network that keras.applications does not have.

    The file names its layers by kind and number, in the order of the network:
    layers/conv2d/vars/0, layers/conv2d_1/vars/0, ... `origin` is its source, for people.
    """

    convention: Convention
    stem: Stem
    origin: str

    def check(self, backbone: str, weights: str, size: int | None = None) -> None:
        """Check the values of the file; there is nothing to download."""
        if weights == IMAGENET:
            raise WeightsError(
                f"Keras has no {backbone} weights to download; pass --weights PATH of "
                f"{self.origin}, or train from scratch with --weights none"
            )
        check_file(weights, backbone, self.origin)

    def load(self, model: keras.Model, backbone: str, weights: str) -> None:
        """Read every layer of the backbone, then set them all."""
        self.check(backbone, weights)
        try:
            stored = read_bare(Path(weights), layers_of(model))
        except LayoutError as error:
            raise WeightsError(
                f"{weights} does not hold {backbone} weights without top: {error}"
            ) from error
        for name, values in stored.tensors.items():
            model.get_layer(name).set_weights(values)
        fold(model, self.stem, self.convention)


def check_file(weights: str, backbone: str, wanted: str) -> None:
    """Raise WeightsError for a path that is no HDF5 file with finite weights, all in itself.

    `wanted` is the file to pass.
    """
    path = Path(weights)
    _check_signature(path, wanted)
    try:
        check_hdf5(path)
    except LayoutError as error:
        raise WeightsError(
            f"{path} does not hold {backbone} weights without top: {error}"
        ) from error


def _check_signature(path: Path, wanted: str) -> None:
    try:
        check_regular(path)
        with path.open("rb") as stream:
            signature = stream.read(len(HDF5_SIGNATURE))
    except OSError as error:
        raise WeightsError(
            f"cannot read the weights {path}: {error.strerror}; pass --weights PATH of {wanted}, "
            "or --weights none"
        ) from error
    if signature != HDF5_SIGNATURE:
        raise WeightsError(f"{path} is not an HDF5 weights file; pass {wanted}")
