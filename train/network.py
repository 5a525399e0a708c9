"""The network: a backbone, the shared head layers, and one linear output for each head."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lmedge.errors import RunError
from lmedge.model_file import HEADS

from .arrays import Floats, Images, Weights, normalise
from .backbones import BACKBONES
from .backend import keras, tf
from .run import NetworkSpec, Run

FEATURES = "features"  # the backbone's last layer: pooled, (N, F)


def build_network(spec: NetworkSpec) -> keras.Model:
    """Build the network: (N, S, S, 3) float32 -> {"landmark": (N, L), "category": (N, C)} logits.

    The input is (pixel - PIXEL_MEAN) / PIXEL_SCALE, RGB. Layers named like the stock backbone's
    hold its weights; "landmark" and "category" are the output layers.
    """
    if spec.backbone not in BACKBONES:
        raise RunError(f"unknown backbone {spec.backbone!r}; known: {', '.join(BACKBONES)}")
    image = keras.Input((spec.size, spec.size, 3), name="image")
    x = BACKBONES[spec.backbone].build(image, widest=spec.features == "widest")
    outputs = attach_heads(x, spec)
    return keras.Model(image, outputs, name=spec.backbone)


def attach_heads(features: keras.KerasTensor, spec: NetworkSpec) -> dict[str, keras.KerasTensor]:
    """Build the shared head layers and the two outputs on (N, F) features."""
    x = features
    shares = spec.dropout * len(spec.head_layers) if len(spec.dropout) == 1 else spec.dropout
    for number, (units, share) in enumerate(zip(spec.head_layers, shares, strict=True), start=1):
        x = keras.layers.Dense(units, name=f"head_{number}")(x)
        x = keras.layers.ReLU(name=f"head_{number}_activation")(x)
        if share:
            x = SeededDropout(share, name=f"head_{number}_dropout")(x)
    sizes = {"landmark": spec.landmarks, "category": spec.categories}
    outputs: dict[str, keras.KerasTensor] = {}
    for head in sorted(HEADS, key=lambda name: name != spec.feature):
        # In float32 whatever the policy: float16 has too few steps for a softmax.
        outputs[head] = keras.layers.Dense(sizes[head], name=head, dtype="float32")(x)
        if head == spec.feature:
            known = keras.layers.Softmax(name=f"{head}_probabilities", dtype="float32")(
                outputs[head]
            )
            x = keras.layers.Concatenate(name=f"with_{head}")([x, known])
    return {head: outputs[head] for head in HEADS}


class SeededDropout(keras.layers.Layer):  # type: ignore[misc]
    """Dropout with masks that follow from a count of its own steps.

    The count is a weight. A run that was killed goes on with the masks it would have had.
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the count."""
        self.steps = self.add_weight(
            "steps",
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Drop a share of the inputs while training and scale up the rest."""
        if not training:
            return inputs
        context = tf.distribute.get_replica_context()
        replica = tf.cast(context.replica_id_in_sync_group if context else 0, tf.int64)
        own = tf.constant(zlib.crc32(self.name.encode()), tf.int64) + replica * 2**32
        seed = tf.stack([tf.identity(self.steps), own])
        with tf.control_dependencies([seed]):
            self.steps.assign_add(1)
        return tf.nn.experimental.stateless_dropout(inputs, self.rate, seed)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "rate": self.rate}


def head_network(network: keras.Model, heads: Sequence[str]) -> keras.Model:
    """Return the sub-network from pooled features (N, F) to heads' logits; layers are shared.

    Cached features go in where the backbone would end.
    """
    features = network.get_layer(FEATURES).output
    return keras.Model(features, {head: network.get_layer(head).output for head in heads})


def load_network(run: Run) -> keras.Model:
    """Build the trained network of a run for the images that it is measured on.

    Raises:
        RunError: if training has not ended, or the weights are damaged or do not fit.
    """
    weights = run.trained_weights()
    network = build_network(run.input_spec)
    set_weights(network, weights, run.weights_path)
    return network


def measured_network(run: Run, network: keras.Model) -> keras.Model:
    """Return the network, as it is now, for the images that it is measured on."""
    if run.spec == run.input_spec:
        return network
    twin = build_network(run.input_spec)
    set_weights(twin, get_weights(network), run.folder)
    return twin


def get_weights(network: keras.Model) -> Weights:
    """Return the weights by "layer/number", as the run folder keeps them."""
    return {
        f"{layer.name}/{number}": np.asarray(value)
        for layer in network.layers
        for number, value in enumerate(layer.get_weights())
    }


def set_weights(network: keras.Model, arrays: Weights, path: Path) -> None:
    """Put weights by "layer/number" into the network.

    Raises:
        RunError: if they do not fit. The message names `path`.
    """
    for layer in network.layers:
        if not layer.weights:
            continue
        try:
            layer.set_weights([arrays[f"{layer.name}/{n}"] for n in range(len(layer.weights))])
        except (KeyError, ValueError) as error:
            raise RunError(f"{path} does not fit the network at {layer.name}: {error}") from error


def predict_logits(network: keras.Model, images: Images, batch: int = 32) -> dict[str, Floats]:
    """Run the float network on (N, S, S, 3) uint8 RGB: logits of each head, (N, L) and (N, C).

    Images that are not in memory are read batch by batch.
    """
    found = predict_outputs(network, images, batch)
    return {head: found[head] for head in HEADS}


def predict_outputs(network: keras.Model, images: Images, batch: int = 32) -> dict[str, Floats]:
    """Run the float network as `predict_logits` does and return every output by name."""
    call = traced(network)
    parts = [
        call(tf.constant(normalise(images[start : start + batch])))
        for start in range(0, len(images), batch)
    ]
    return {
        name: np.concatenate(
            [np.zeros((0, values.shape[-1]), np.float32), *(part[name].numpy() for part in parts)]
        )
        for name, values in network.output.items()
    }


def predict_with_features(network: keras.Model, images: Images) -> dict[str, Floats]:
    """Run a network as `predict_logits` does: the logits of both heads, and `features` (N, F).

    Images that are not in memory are read batch by batch.
    """
    return predict_outputs(with_features(network), images)


def with_features(network: keras.Model) -> keras.Model:
    """Return the network with another output, `features`, the pooled ones of the backbone."""
    outputs = {**network.output, FEATURES: network.get_layer(FEATURES).output}
    # A new name would be counted up and enter the file, and no two files would be the same. A
    # quantized network keeps its class, and with it its predictions in whole numbers.
    return type(network)(network.input, outputs, name=network.name)


def traced(network: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    """Return the network at inference as one traced function, made once a network."""
    made = getattr(network, "_lmedge_traced", None)
    if made is None:
        made = tf.function(
            lambda images: network(images, training=False), autograph=False, reduce_retracing=True
        )
        network._lmedge_traced = made
    return made
