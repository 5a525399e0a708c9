"""Lowering: a trained network rewritten as the device computes it, before it is quantized.

Batch norm is folded into the convolution before it, swish becomes a sigmoid and a product, and
dropout is dropped. Each remaining layer is one TFLite operation, or two for a border. Each tensor
of the file therefore has a name here and can be given a range.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lmedge.train.backend import keras
from lmedge.train.network import SeededDropout

INPUT = "image_in"  # the layer that stands for the quantized input
GATE = "_gate"  # suffix of the sigmoid inside a swish

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


def lower(network: keras.Model) -> keras.Model:
    """Return an equivalent network of plain layers, with the same outputs and weights of its own.

    Raises ValueError for a layer that has no lowering.
    """
    made: dict[str, keras.KerasTensor] = {}
    pending: list[tuple[str, list[np.ndarray[Any, Any]]]] = []
    image: keras.KerasTensor | None = None
    for layer in network.layers:
        if isinstance(layer, keras.layers.InputLayer):
            image = keras.Input(layer.output.shape[1:], name=layer.name)
            made[layer.name] = keras.layers.Activation("linear", name=INPUT)(image)
            continue
        inputs = [made[name] for name in input_names(layer)]
        made[layer.name], weights = _lower_layer(layer, inputs)
        if weights:
            pending.append((layer.name, weights))
    outputs = {head: made[head] for head in network.output_names}
    lowered = keras.Model(image, outputs, name=network.name)
    for name, weights in pending:
        lowered.get_layer(name).set_weights(_uneven(weights))
    return lowered


def _uneven(weights: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """Return weights whose bias is not the same for all channels, unless that is zero.

    The converter of TensorFlow 2.21 keeps a bias of equal values as one value, and quantizes it by
    the scale of the first channel for all. A change of one value's last bit prevents that.
    """
    if len(weights) != 2:
        return weights
    kernel, bias = weights
    if len(bias) > 1 and bias[0] != 0 and np.ptp(bias) == 0:
        bias = bias.copy()
        bias[-1] = np.nextafter(bias[-1], np.float32(0))
    return [kernel, bias]


def input_names(layer: keras.layers.Layer) -> list[str]:
    """Return the names of the layers that feed `layer`."""
    tensors = layer.input if isinstance(layer.input, list) else [layer.input]
    return [tensor._keras_history.layer.name for tensor in tensors]


def consumers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return the layers that `layer` feeds."""
    return [node.layer for node in layer.outbound_nodes]


def _lower_layer(
    layer: keras.layers.Layer, inputs: list[keras.KerasTensor]
) -> tuple[keras.KerasTensor, list[np.ndarray[Any, Any]]]:
    """Return the lowered output and the weights of the lowered layer of the same name."""
    first = inputs[0]
    if isinstance(layer, keras.layers.BatchNormalization):
        (conv,) = (node.layer for node in layer.inbound_nodes[0].parent_nodes)
        if not isinstance(conv, _CONVOLUTIONS) or len(consumers(conv)) != 1:
            raise ValueError(f"{layer.name} does not follow a convolution of its own")
        return first, []
    if isinstance(layer, SeededDropout):
        return first, []
    if isinstance(layer, _CONVOLUTIONS):
        config = {**layer.get_config(), "use_bias": True}
        return type(layer).from_config(config)(first), _folded(layer)
    if isinstance(layer, keras.layers.Activation) and layer.get_config()["activation"] == "swish":
        gate = keras.layers.Activation("sigmoid", name=layer.name + GATE)(first)
        return keras.layers.Multiply(name=layer.name)([first, gate]), []
    copy = type(layer).from_config(layer.get_config())
    return copy(inputs if len(inputs) > 1 else first), layer.get_weights()


def _folded(conv: keras.layers.Layer) -> list[np.ndarray[Any, Any]]:
    """Return the kernel and bias of `conv` with the batch norm behind it folded in.

    gamma (W x - mean) / sqrt(variance + epsilon) + beta, channel by channel.
    """
    weights = conv.get_weights()
    kernel = weights[0].astype(np.float64)
    depthwise = isinstance(conv, keras.layers.DepthwiseConv2D)
    channels = kernel.shape[2] if depthwise else kernel.shape[3]
    bias = weights[1].astype(np.float64) if conv.use_bias else np.zeros(channels)
    followers = consumers(conv)
    if len(followers) == 1 and isinstance(followers[0], keras.layers.BatchNormalization):
        norm = followers[0]
        gamma, beta, mean, variance = (value.astype(np.float64) for value in norm.get_weights())
        gain = gamma / np.sqrt(variance + norm.epsilon)
        kernel = kernel * (gain[None, None, :, None] if depthwise else gain)
        bias = (bias - mean) * gain + beta
    return [kernel.astype(np.float32), bias.astype(np.float32)]
