"""Keras to .tflite: one image in, one probability vector a head out.

Every format takes raw RGB bytes. In the integer formats the bytes are the quantized input itself;
in the others the graph begins with a cast and the normalisation.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from lmedge.errors import LmedgeError
from lmedge.image import PIXEL_MEAN, PIXEL_SCALE
from lmedge.model_file import KNOWN
from lmedge.progress import quiet_stderr
from lmedge.train.backend import keras, tf
from lmedge.train.network import FEATURES, with_features

from .quantization.scheme import Quantized
from .verification.known import Known

Graph = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def to_int8(
    quantized: keras.Model, temperatures: Mapping[str, float], known: Known | None = None
) -> bytes:
    """Convert the fine-tuned network: uint8 (1, S, S, 3) RGB in, float32 probabilities out.

    Everything up to the logits is int8. Behind them the graph divides each head by its temperature
    and computes a softmax in float32. With `known` it has the third output. Raises LmedgeError if
    the converter fails.
    """
    converter = _converter(quantized, temperatures, known, rounded=True)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.uint8
    return _convert(converter)


def to_int8_logits(quantized: keras.Model) -> bytes:
    """Convert the fine-tuned network for integer-only accelerators: int8 in, int8 logits out.

    The input is the RGB byte less 128.
    """
    converter = _converter(quantized, None)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return _convert(converter)


def to_int8_features(quantized: keras.Model) -> bytes:
    """Convert a quantized backbone without heads: uint8 (1, S, S, 3) RGB in, int8 features out."""
    converter = _converter(quantized, None)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.int8
    return _convert(converter)


def to_float32(
    network: keras.Model, temperatures: Mapping[str, float], known: Known | None = None
) -> bytes:
    """Convert the float network without quantizing anything."""
    return _convert(_converter(network, temperatures, known, from_bytes=True))


def to_float16(
    network: keras.Model, temperatures: Mapping[str, float], known: Known | None = None
) -> bytes:
    """Convert with float16 weights, which are widened to float32 before they are used."""
    converter = _converter(network, temperatures, known, from_bytes=True)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return _convert(converter)


def to_dynamic(
    network: keras.Model, temperatures: Mapping[str, float], known: Known | None = None
) -> bytes:
    """Convert with int8 weights; activations are quantized as the graph runs."""
    converter = _converter(network, temperatures, known, from_bytes=True)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return _convert(converter)


def to_int8_post_training(
    network: keras.Model, temperatures: Mapping[str, float], inputs: npt.NDArray[np.float32]
) -> bytes:
    """Convert with TensorFlow's own post-training quantization.

    inputs: (N, S, S, 3) float32 network inputs, the representative data set.
    """
    converter = _calibrated(network, temperatures, inputs)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    return _convert(converter)


def to_int16x8(
    network: keras.Model, temperatures: Mapping[str, float], inputs: npt.NDArray[np.float32]
) -> bytes:
    """Convert with int16 activations and int8 weights; inputs as of `to_int8_post_training`."""
    converter = _calibrated(network, temperatures, inputs, from_bytes=True)
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        tf.lite.OpsSet.TFLITE_BUILTINS,
    ]
    return _convert(converter)


def _calibrated(
    network: keras.Model,
    temperatures: Mapping[str, float],
    inputs: npt.NDArray[np.float32],
    *,
    from_bytes: bool = False,
) -> tf.lite.TFLiteConverter:
    def images() -> Iterator[list[npt.NDArray[np.generic]]]:
        for value in inputs:
            image = np.rint(value * PIXEL_SCALE + PIXEL_MEAN).astype(np.uint8)
            yield [image[None] if from_bytes else value[None]]

    converter = _converter(network, temperatures, from_bytes=from_bytes)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = images
    return converter


def _converter(
    network: keras.Model,
    temperatures: Mapping[str, float] | None,
    known: Known | None = None,
    *,
    from_bytes: bool = False,
    rounded: bool = False,
) -> tf.lite.TFLiteConverter:
    """Return the converter of a graph; without temperatures it gives logits.

    A quantized network shows its ranges if it is called for training. rounded: as of
    `Known.output`.
    """
    size = network.input_shape[1]
    if known is not None:
        network = with_features(network)

    # The converter would drop a factor of exactly 1, and the softmax would become int8 with it.
    factors = {
        head: 1.0 / temperature if abs(temperature - 1.0) > 1e-5 else 1.0 + 1e-5
        for head, temperature in (temperatures or {}).items()
    }

    def graph(image: tf.Tensor) -> dict[str, tf.Tensor]:
        if from_bytes:
            image = (tf.cast(image, tf.float32) - PIXEL_MEAN) / PIXEL_SCALE
        logits = network(image, training=isinstance(network, Quantized))
        if temperatures is None:
            return {head: tf.identity(values) for head, values in logits.items()}
        found = {head: tf.nn.softmax(logits[head] * factor) for head, factor in factors.items()}
        if known is not None:
            found[KNOWN] = known.output(logits[FEATURES], found, rounded=rounded)
        return found

    image = tf.TensorSpec((1, size, size, 3), tf.uint8 if from_bytes else tf.float32, name="image")
    # The converter saves the module and loads it again. The module holds the graph and its
    # variables, without Keras layers: the converter would trace each of them four times.
    module = tf.Module()
    module.held = list(network.weights)
    module.graph = tf.function(graph, autograph=False, input_signature=[image])
    concrete = module.graph.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)


def _convert(converter: tf.lite.TFLiteConverter) -> bytes:
    with warnings.catch_warnings(), quiet_stderr():
        warnings.simplefilter("ignore")
        try:
            return bytes(converter.convert())
        except Exception as error:  # the converter raises any error of its C++ side
            raise LmedgeError(f"the TFLite converter failed: {str(error)[:300]}") from error
