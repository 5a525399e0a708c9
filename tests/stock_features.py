"""What tests of backbones share: photographs, a drawn backbone, and how alike features are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lmedge.image import Resize, prepare, read_image
from tests.locations import PHOTOGRAPHS

if TYPE_CHECKING:
    from lmedge.train.backbones import Backbone


def photographs(size: int) -> np.ndarray:
    """Return 24 photographs of many landmarks, (24, size, size, 3) uint8 RGB."""
    paths = sorted(PHOTOGRAPHS.glob("*/*/*.jpg"))
    chosen = paths[:: len(paths) // 24][:24]
    assert len({path.parent for path in chosen}) > 20
    return np.stack([prepare(read_image(path), size, Resize.SQUASH) for path in chosen])


def draw(backbone: Backbone, size: int) -> Any:
    """Return the backbone alone, from network inputs to features."""
    from lmedge.train.backend import keras

    image = keras.Input((size, size, 3), name="image")
    return keras.Model(image, backbone.build(image))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair of features, (N, F) and (N, F)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def groups_of_layers(backbone: Backbone, model: Any) -> list[int]:
    """Return the number of the group each layer belongs to, in the order of the network."""
    names = [layer.name for layer in model.layers if layer.name not in ("image", "features")]
    return [
        next(n for n, group in enumerate(backbone.groups) if name.startswith(group))
        for name in names
    ]
