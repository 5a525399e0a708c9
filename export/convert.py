"""Keras to .tflite: one picture in, one probability vector a head out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

from lmedge.errors import LmedgeError
from lmedge.quiet import quiet_stderr

from ..train.backend import keras, tf

Graph = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def to_int8(quantized: keras.Model, temperatures: Mapping[str, float]) -> bytes:
    """Convert the fine-tuned network: uint8 (1, S, S, 3) RGB in, float32 probabilities out.

    Everything up to the logits is int8; behind them each head is divided by its temperature and
    goes through a softmax in float32. Raises LmedgeError when the converter fails.
    """
    converter = _converter(quantized, temperatures)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.uint8
    return _convert(converter)


def to_float32(network: keras.Model, temperatures: Mapping[str, float]) -> bytes:
    """Convert the float network: float32 (1, S, S, 3) network inputs, float32 probabilities."""
    return _convert(_converter(network, temperatures))


def to_int8_post_training(
    network: keras.Model, temperatures: Mapping[str, float], pictures: tf.Tensor
) -> bytes:
    """Convert with TensorFlow's own post-training quantization, for comparison.

    pictures: (N, S, S, 3) float32 network inputs, the representative data set.
    """
    converter = _converter(network, temperatures)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([picture[None]] for picture in pictures)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    return _convert(converter)


def _converter(network: keras.Model, temperatures: Mapping[str, float]) -> tf.lite.TFLiteConverter:
    size = network.input_shape[1]

    # A factor of exactly 1 would be optimised away, and with it the softmax would become int8.
    factors = {
        head: 1.0 / temperature if abs(temperature - 1.0) > 1e-5 else 1.0 + 1e-5
        for head, temperature in temperatures.items()
    }

    def graph(image: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = network(image, training=False)
        return {head: tf.nn.softmax(logits[head] * factor) for head, factor in factors.items()}

    image = tf.TensorSpec((1, size, size, 3), tf.float32, name="image")
    module = tf.Module()
    module.network = network
    module.graph = tf.function(graph, autograph=False, input_signature=[image])
    concrete = module.graph.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)


def _convert(converter: tf.lite.TFLiteConverter) -> bytes:
    with warnings.catch_warnings(), quiet_stderr():
        warnings.simplefilter("ignore")
        try:
            return bytes(converter.convert())
        except Exception as error:  # the converter raises whatever its C++ side says
            raise LmedgeError(f"the TFLite converter failed: {str(error)[:300]}") from error
