"""EfficientNetB0 with random weights, as Keras builds it, as timm stores it and as we build it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lmedge.train.backbones import BACKBONES
from tests.stock_features import draw
from tests.train.backbones import layouts
from tests.train.backbones.layouts import EVEN, IMAGENET, ODD, PlainB0


@pytest.fixture(scope="package")
def stock() -> Any:
    return layouts.stock_model()


@pytest.fixture(scope="package")
def tensors(stock: Any) -> layouts.Named:
    return layouts.as_timm(stock)


@pytest.fixture(scope="package")
def models() -> dict[int, Any]:
    return {size: draw(BACKBONES["efficientnetb0"], size) for size in (EVEN, ODD)}


@pytest.fixture(scope="package")
def expected(stock: Any) -> Callable[..., np.ndarray]:
    """Return the features of the stock model at EVEN for the statistics of an input."""

    @functools.cache
    def compute(statistics: Any = IMAGENET) -> np.ndarray:
        layouts.set_input(stock, *statistics)
        found = layouts.stock_features(stock, layouts.images(EVEN))
        layouts.set_input(stock, *IMAGENET)
        return found

    return compute


@pytest.fixture(scope="package")
def plain(tensors: layouts.Named) -> Callable[..., np.ndarray]:
    """Return the features of the network in plain NumPy, by its fields and the side of images."""

    @functools.cache
    def compute(size: int, **fields: Any) -> np.ndarray:
        return PlainB0(tensors=tensors, **fields)(layouts.images(size))

    return compute
