"""The weights of one backbone as a file holds them, whatever its layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from ..backend import keras
from .convention import Convention

Floats = npt.NDArray[np.float32]
Tensors = dict[str, list[Floats]]  # by layer, in the order and the axes of Keras
KINDS = {
    keras.layers.Conv2D: "conv2d",
    keras.layers.DepthwiseConv2D: "depthwise_conv2d",
    keras.layers.BatchNormalization: "batch_normalization",
}
STOCK_EPSILON = 1e-3


class LayoutError(Exception):
    """A reason why a file is not read; its message is part of a line for people."""


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer that a file must hold: its name with us, its kind, the shapes of its weights."""

    name: str
    kind: str
    shapes: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class StockInput:
    """The input layers of a stock Keras model.

    mean, variance: (3,) of the Normalization layer. again: true if another scaling follows it, as
    in a model that was built with the weights "imagenet".
    """

    mean: Floats
    variance: Floats
    again: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkDetails:
    """Details of one training of a network that the shapes of its weights do not show.

    Attributes:
        convention: the input that the weights expect; None if the file does not contain it.
        epsilon: the constant that batch norms add to variances.
        symmetric: if true, strided convolutions pad equally on both sides.
    """

    convention: Convention | None = None
    epsilon: float = STOCK_EPSILON
    symmetric: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredWeights:
    """All weights of the backbone, and the input layers that a stock Keras file adds."""

    tensors: Tensors
    stock: StockInput | None = None


def layers_of(model: keras.Model) -> list[Layer]:
    """Return the layers of the backbone that hold weights, in the order of the network."""
    return [
        Layer(layer.name, KINDS[type(layer)], tuple(tuple(w.shape) for w in layer.weights))
        for layer in model.layers
        if type(layer) in KINDS
    ]


def checked(
    name: str,
    read: Callable[[], npt.NDArray[np.floating]],
    dtype: str,
    found: tuple[int, ...],
    shape: tuple[int, ...],
) -> Floats:
    """Return `read()` as float32 if type and shape are as expected and all values are finite.

    Raises:
        LayoutError: otherwise, with the name of the tensor.
    """
    if found != shape or dtype not in ("float16", "float32", "float64"):
        raise LayoutError(f"{name} is {dtype} {found}, expected are floats of {shape}")
    with np.errstate(over="ignore"):
        values = read().astype(np.float32)
    if not np.isfinite(values).all():
        raise LayoutError(f"{name} holds numbers that are not finite")
    return values


def check_rest(held: Iterable[str], known: Collection[str]) -> None:
    """Raise LayoutError for a layer or tensor of a larger network."""
    for name in held:
        if name not in known:
            raise LayoutError(f"it also holds {name}, which the network does not have")


def with_epsilon(values: list[Floats], theirs: float, ours: float) -> list[Floats]:
    """Return gamma, beta, mean and variance that give with `ours` the result of `theirs`.

    gamma / sqrt(variance + theirs) = gamma' / sqrt(variance + ours)
    """
    if theirs == ours:
        return values
    gamma, beta, mean, variance = values
    wide = variance.astype(np.float64)
    factor = np.sqrt((wide + ours) / (wide + theirs))
    return [(gamma * factor).astype(np.float32), beta, mean, variance]


def check_variances(tensors: Mapping[str, list[Floats]], layers: Iterable[Layer]) -> None:
    """Raise LayoutError for a batch norm whose variance is negative."""
    for layer in layers:
        if layer.kind == "batch_normalization" and (tensors[layer.name][3] < 0).any():
            raise LayoutError(f"{layer.name} has a negative variance")
