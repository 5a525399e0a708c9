"""The network: a backbone, the shared head layers, and one linear output a head."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from lmedge.errors import RunError
from lmedge.image import PIXEL_MEAN, PIXEL_SCALE
from lmedge.model_file import HEADS

from .backbones import BACKBONES
from .backend import keras, tf

FEATURES = "features"  # the backbone's last layer: pooled, (N, F)


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """All that is needed to draw the network again; weights come from a file."""

    backbone: str
    size: int
    landmarks: int
    categories: int
    head_layers: tuple[int, ...] = ()
    dropout: float = 0.0


def build_network(spec: NetworkSpec) -> keras.Model:
    """Draw the network: (N, S, S, 3) float32 -> {"landmark": (N, L), "category": (N, C)} logits.

    The input is (pixel - PIXEL_MEAN) / PIXEL_SCALE, RGB. Layers named like the stock backbone's
    hold its weights; "landmark" and "category" are the output layers.
    """
    if spec.backbone not in BACKBONES:
        raise RunError(f"unknown backbone {spec.backbone!r}; known: {', '.join(BACKBONES)}")
    image = keras.Input((spec.size, spec.size, 3), name="image")
    x = BACKBONES[spec.backbone].build(image)
    outputs = attach_heads(x, spec)
    return keras.Model(image, outputs, name=spec.backbone)


def attach_heads(features: keras.KerasTensor, spec: NetworkSpec) -> dict[str, keras.KerasTensor]:
    """Draw the shared head layers and the two outputs on (N, F) features."""
    x = features
    for number, units in enumerate(spec.head_layers, start=1):
        x = keras.layers.Dense(units, name=f"head_{number}")(x)
        x = keras.layers.ReLU(name=f"head_{number}_activation")(x)
        if spec.dropout:
            x = keras.layers.Dropout(spec.dropout, name=f"head_{number}_dropout")(x)
    sizes = {"landmark": spec.landmarks, "category": spec.categories}
    return {head: keras.layers.Dense(sizes[head], name=head)(x) for head in HEADS}


def head_network(network: keras.Model, head: str) -> keras.Model:
    """Return the sub-network from pooled features (N, F) to one head's logits; layers are shared.

    Cached features go in where the backbone would end.
    """
    features = network.get_layer(FEATURES).output
    return keras.Model(features, network.get_layer(head).output, name=f"{head}_head")


def normalise(pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return pictures, uint8 RGB, in the units of the network's input."""
    return (pictures.astype(np.float32) - PIXEL_MEAN) / PIXEL_SCALE


def predict_logits(
    network: keras.Model, pictures: npt.NDArray[np.uint8], batch: int = 32
) -> dict[str, npt.NDArray[np.float32]]:
    """Run the float network on (N, S, S, 3) uint8 RGB: logits of each head, (N, L) and (N, C)."""
    if not len(pictures):
        return {head: np.zeros((0, network.output[head].shape[-1]), np.float32) for head in HEADS}
    call = traced(network)
    parts = [
        call(tf.constant(normalise(pictures[start : start + batch])))
        for start in range(0, len(pictures), batch)
    ]
    return {head: np.concatenate([part[head].numpy() for part in parts]) for head in HEADS}


def traced(network: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    """Return the network at inference as one traced function, made once a network."""
    made = getattr(network, "_lmedge_traced", None)
    if made is None:
        made = tf.function(
            lambda images: network(images, training=False), autograph=False, reduce_retracing=True
        )
        network._lmedge_traced = made
    return made
