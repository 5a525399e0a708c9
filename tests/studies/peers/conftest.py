"""A float32 file with one of every operation that ours have, and a third output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import tiny_file as tiny

SIZE = 33  # odd: "same" padding then differs on the two sides of some convolutions


def convert() -> bytes:
    """Convert a graph with random weights: border, strides, swish, squeeze-and-excite, a sum."""
    import tensorflow as tf

    random = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        return random.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape).astype(np.float32)

    def swish(x: tf.Tensor) -> tf.Tensor:
        return x * tf.sigmoid(x)

    border = np.full((1, 1, SIZE, 3), 0.3, np.float32)
    kernels = [weights(3, 3, 3, 8), weights(3, 3, 8, 1), weights(1, 1, 8, 4), weights(1, 1, 4, 8)]
    same, dense = weights(1, 1, 8, 8), [weights(8, 4), weights(8, 2)]
    bias = weights(8, 1)[:, 0]

    @tf.function(input_signature=[tf.TensorSpec((1, SIZE, SIZE, 3), tf.uint8, name="image")])
    def graph(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = (tf.cast(image, tf.float32) - 114.0) * (1 / 57)
        x = tf.concat([x, border], axis=1)
        x = swish(tf.nn.conv2d(x, kernels[0], (2, 2), "SAME") + bias)
        x = swish(tf.nn.depthwise_conv2d(x, kernels[1], (1, 2, 2, 1), "SAME"))
        gate = tf.reduce_mean(x, (1, 2), keepdims=True)
        gate = swish(tf.nn.conv2d(gate, kernels[2], (1, 1), "SAME"))
        gate = tf.sigmoid(tf.nn.conv2d(gate, kernels[3], (1, 1), "SAME"))
        x = x * gate + tf.nn.relu6(tf.nn.conv2d(x, same, (1, 1), "SAME"))
        x = tf.reduce_mean(tf.nn.max_pool2d(x, 3, 2, "SAME"), (1, 2))
        length = tf.math.rsqrt(tf.reduce_sum(tf.square(x), 1, keepdims=True) + 1e-12)
        score = tf.reduce_sum(x, 1, keepdims=True) * length / 3.0
        return {
            "landmark": tf.nn.softmax(tf.matmul(x, dense[0]) * 3.0),
            "category": tf.nn.softmax(tf.matmul(x, dense[1]) * 3.0),
            "known": score * [[1.0, -1.0]] + [[0.0, 1.0]],  # two, as the categories are
        }

    concrete = graph.get_concrete_function()
    module = tf.Module()
    module.graph = graph
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert())


@pytest.fixture(scope="session")
def float_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float32 file that knows the tiny file's landmarks, by chance."""
    from lmedge.metadata import Card, pack

    info = {"preprocessing": {"size": SIZE, "resize": "crop"}, "provenance": {}}
    card = Card(
        name="float",
        description="every operation",
        version="0.1.0",
        taxonomy=tiny.TAXONOMY,
        size=SIZE,
        info=info,
    )
    path = tmp_path_factory.mktemp("float") / "float.tflite"
    path.write_bytes(pack(convert(), card))
    return path


@pytest.fixture
def images() -> np.ndarray:
    """Noise at the input's size, (8, S, S, 3) uint8 RGB."""
    return np.random.default_rng(1).integers(0, 256, (8, SIZE, SIZE, 3), np.uint8)
