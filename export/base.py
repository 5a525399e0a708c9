"""A base: pretrained weights in, a .tflite that ends with the backbone's int8 features out.

The scheme is that of every int8 file of lmedge, without fine-tuning. The same weights and images
give the same bytes on the same kind of processor.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmedge.base_file import FEATURES, BaseFile, bare_base, parse_base
from lmedge.errors import WeightsError
from lmedge.golden import golden_features
from lmedge.image import PIXEL_MEAN, PIXEL_SCALE, Resize
from lmedge.metadata import Card, pack
from lmedge.train.arrays import normalise
from lmedge.train.backbones import BACKBONES, check_pretrained, load_stock_weights
from lmedge.train.backend import keras, tf

from .convert import to_int8_features
from .quantization import ranges
from .quantization.lower import lower
from .quantization.refine import refine
from .quantization.scheme import quantize

# The lmedge that first made these bytes: a release that changes nothing about them keeps them.
VERSION = "0.1.0"
Images = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightsOrigin:
    """The file of pretrained weights that a base is made of, as its card names it."""

    file: str
    sha256: str
    origin: str
    licence: str

    def check(self, path: Path) -> None:
        """Raise WeightsError unless `path` is this very file."""
        try:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
        if found != self.sha256:
            raise WeightsError(
                f"{path}: its SHA-256 is {found}, not {self.sha256}; pass {self.file}"
            )


def float_backbone(name: str, weights: Path, size: int) -> keras.Model:
    """Return a backbone with pretrained weights: network inputs -> {"features": (N, F)}.

    The average over its widest layer belongs to the features, before that over the last.

    Raises WeightsError if the weights cannot be read or are of another network.
    """
    check_pretrained(name, str(weights), size)
    image = keras.Input((size, size, 3), name="image")
    features = BACKBONES[name].build(image, widest=True)
    network = keras.Model(image, {FEATURES: features}, name=name)
    load_stock_weights(network, BACKBONES[name], str(weights))
    return network


def int8_graph(network: keras.Model, images: Images, seed: int = 0) -> bytes:
    """Quantize and convert a backbone; the ranges are those of (N, S, S, 3) uint8 RGB images."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    inputs = normalise(images)
    lowered = lower(network)
    observed = ranges.observe(lowered, inputs, np.random.default_rng(seed))
    chosen = refine(lowered, ranges.choose_ranges(lowered, observed), inputs)
    return to_int8_features(quantize(lowered, chosen))


def make_base(
    network: keras.Model, images: Images, *, weights: WeightsOrigin, calibration: str
) -> BaseFile:
    """Return a base with its card; `calibration` describes the images that give the ranges."""
    return pack_base(int8_graph(network, images), network.name, weights, calibration)


def pack_base(graph: bytes, backbone: str, weights: WeightsOrigin, calibration: str) -> BaseFile:
    """Return a converted graph with card and golden answers, checked as `read_base` checks it."""
    path = Path("base.tflite")
    bare = bare_base(graph, path, Resize.SQUASH)
    card = Card(
        name="base",
        description=f"{backbone} without landmarks, for `lmedge teach`; {weights.licence}",
        version=VERSION,
        taxonomy=None,
        size=bare.size,
        info={
            "format": "int8",
            "io": "uint8",
            "preprocessing": {
                "size": bare.size,
                "resize": bare.resize.value,
                "color": "RGB",
                "mean": PIXEL_MEAN,
                "scale": PIXEL_SCALE,
            },
            "provenance": {
                "backbone": backbone,
                "weights": dataclasses.asdict(weights),
                "calibration": calibration,
                "exported_with": {"tensorflow": tf.__version__},
            },
            "golden": {FEATURES: golden_features(bare)},
        },
    )
    return parse_base(pack(graph, card), path)
