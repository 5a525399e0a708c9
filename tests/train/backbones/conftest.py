"""EfficientNetB0 with random weights, as Keras builds it, as timm stores it and as we build it."""

from __future__ import annotations

from typing import Any

import pytest

from lmedge.train.backbones import BACKBONES
from tests.stock_features import draw
from tests.train.backbones import layouts
from tests.train.backbones.layouts import EVEN, ODD


@pytest.fixture(scope="module")
def stock() -> Any:
    return layouts.stock_model()


@pytest.fixture(scope="module")
def tensors(stock: Any) -> layouts.Named:
    return layouts.as_timm(stock)


@pytest.fixture(scope="module")
def models() -> dict[int, Any]:
    return {size: draw(BACKBONES["efficientnetb0"], size) for size in (EVEN, ODD)}
