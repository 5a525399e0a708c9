"""A real two-head int8 file made in seconds: the tests of the device need one, not a good one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lmedge.taxonomy import Taxonomy
from tests import kept

SIZE = 32  # side of the input
NEARLY_ONE = 1.00001  # a factor of 1 would be left out
TAXONOMY = Taxonomy.from_pairs(
    [("towers", "red"), ("towers", "green"), ("domes", "blue"), ("domes", "grey stone")]
)
# The mean colour of an image of each landmark, in the order blue, green, grey stone, red.
COLOURS = {
    "blue": (0, 0, 255),
    "green": (0, 255, 0),
    "grey stone": (114, 114, 114),
    "red": (255, 0, 0),
}


def image(landmark: str, height: int = 48, width: int = 64) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB that the tiny file takes for `landmark`."""
    return np.full((height, width, 3), COLOURS[landmark], np.uint8)


def graph(*, known: bool = False) -> bytes:
    """Return the int8 graph without metadata, with the third output if `known`; made once."""
    return (kept.folder("tiny") / _graph_name(known=known)).read_bytes()


def make_all(folder: Path) -> None:
    """Write both graphs, and the file with its metadata, into `folder`."""
    from lmedge.metadata import Card, pack

    plain = _convert(known=False)
    (folder / _graph_name(known=False)).write_bytes(plain)
    (folder / _graph_name(known=True)).write_bytes(_convert(known=True))
    card = Card(
        name="tiny",
        description="four colours",
        version="0.1.0",
        taxonomy=TAXONOMY,
        size=SIZE,
        info={"preprocessing": {"size": SIZE, "resize": "crop"}, "provenance": {}},
    )
    (folder / "tiny.tflite").write_bytes(pack(plain, card))
    (folder / "base.graph").write_bytes(_convert_base())


def base_graph() -> bytes:
    """Return the int8 graph of a base without metadata: the mean colour as its features."""
    return (kept.folder("tiny") / "base.graph").read_bytes()


def base_bytes() -> bytes:
    """Return a base, whose features are the mean colour of the image."""
    from lmedge.base_file import bare_base
    from lmedge.golden import golden_features
    from lmedge.image import Resize
    from lmedge.metadata import Card, pack

    graph = base_graph()
    golden = golden_features(bare_base(graph, Path("base.tflite"), Resize.CROP), trusted=True)
    card = Card(
        name="tiny base",
        description="a mean colour",
        version="0.1.0",
        taxonomy=None,
        size=SIZE,
        info={
            "preprocessing": {"size": SIZE, "resize": "crop"},
            "provenance": {
                "backbone": "a mean",
                "weights": {"origin": "none", "sha256": "0" * 64, "licence": "Apache-2.0"},
                "calibration": "nothing",
            },
            "golden": {"features": golden},
        },
    )
    return pack(graph, card)


def _graph_name(*, known: bool) -> str:
    return "known.graph" if known else "plain.graph"


def _convert(*, known: bool) -> bytes:
    """Convert a graph that tells four colours apart: fake-quantized like the real ones.

    known: with the third output, the probability of the likeliest colour, and with the softmax in
    float32. Without it, the softmax is in int8.
    """
    import tensorflow as tf

    low, high = (0 - 114) / 57, (255 - 114) / 57
    # One row a landmark: blue, green, grey stone, red. A landmark is told by its own channel.
    weights = np.array([[-1, -1, 2], [-1, 2, -1], [0, 0, 0], [2, -1, -1]], np.float32).T
    bias = np.array([0, 0, 2, 0], np.float32)
    merge = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32) * 0.5

    def quantized(x: tf.Tensor, low: float, high: float) -> tf.Tensor:
        return tf.quantization.fake_quant_with_min_max_args(x, low, high)

    @tf.function(input_signature=[tf.TensorSpec((1, SIZE, SIZE, 3), tf.float32, name="image")])
    def graph(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = quantized(image, low, high)
        x = quantized(tf.reduce_mean(x, (1, 2)), low, high)
        logits = quantized(tf.matmul(x, weights) + bias, -16.0, 16.0)
        merged = quantized(tf.matmul(logits, merge), -16.0, 16.0)
        both = {"landmark": logits, "category": merged}
        heads = {head: tf.nn.softmax(x) for head, x in both.items()}
        if not known:
            return heads
        # As in the exports: behind this factor the softmax stays in float32.
        heads = {head: tf.nn.softmax(x * NEARLY_ONE) for head, x in both.items()}
        largest = tf.reduce_max(heads["landmark"], 1, keepdims=True)
        return {**heads, "known": largest * [[1.0, -1.0]] + [[0.0, 1.0]]}

    return bytes(_converter(graph).convert())


def _convert_base() -> bytes:
    import tensorflow as tf

    low, high = (0 - 114) / 57, (255 - 114) / 57

    @tf.function(input_signature=[tf.TensorSpec((1, SIZE, SIZE, 3), tf.float32, name="image")])
    def graph(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.quantization.fake_quant_with_min_max_args(image, low, high)
        mean = tf.reduce_mean(x, (1, 2))
        return {"features": tf.quantization.fake_quant_with_min_max_args(mean, low, high)}

    converter = _converter(graph)
    converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def _converter(graph: Any) -> Any:
    import tensorflow as tf

    module = tf.Module()
    module.graph = graph
    concrete = graph.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.uint8
    return converter
