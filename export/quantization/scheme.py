"""The quantization scheme, and fine-tuning under it.

| tensor | quantized | range |
|---|---|---|
| input and its border | per tensor | fixed by the pixel convention: scale 1/57, zero point 114 |
| kernels, depthwise ones too | per output channel, symmetric | the kernel's own largest value |
| biases | int32 | by the scales of input and kernel |
| sigmoid, softmax | per tensor | fixed: 0..255/256, the only one they have |
| every other output | per tensor | from calibration, see ranges.py |
| convolution in front of a ReLU | no | the two are one operation in the file |
| maximum of a pooling layer | no | has the scale of what it is taken from |

tensorflow-model-optimization wraps the layers and trains through the rounding. Its own scheme is
not used: it quantizes depthwise kernels per tensor, leaves the sigmoid unquantized, and starts
every range at -6..6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorflow_model_optimization.quantization import keras as tfmot

from lmedge.train.backend import keras, tf

from . import integer
from .grid import kernel_axis, on_grid, scheme_range
from .ranges import Range


class KernelQuantizer(tfmot.quantizers.Quantizer):  # type: ignore[misc]
    """Symmetric int8 along one axis; the range of a channel is its own largest value."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Keep nothing: the range follows the kernel."""
        return {}

    def __call__(self, inputs: tf.Tensor, training: bool, weights: Any, **_: Any) -> tf.Tensor:
        """Round in the forward pass; the gradient passes straight through."""
        return inputs + tf.stop_gradient(on_grid(inputs, self.axis) - inputs)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"axis": self.axis}


class RangeQuantizer(tfmot.quantizers.Quantizer):  # type: ignore[misc]
    """Asymmetric int8 of a whole tensor over a range known beforehand."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Keep nothing: the range is a constant."""
        return {}

    def __call__(self, inputs: tf.Tensor, training: bool, weights: Any, **_: Any) -> tf.Tensor:
        """Quantize and back; the gradient is cut outside the range."""
        return tf.quantization.fake_quant_with_min_max_args(inputs, self.low, self.high)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"low": self.low, "high": self.high}


class LayerConfig(tfmot.QuantizeConfig):  # type: ignore[misc]
    """The quantization of one layer: its kernel by `axis`, its output over `output`."""

    def __init__(self, kernel: str | None, axis: int, output: Range | None) -> None:
        self.kernel, self.axis, self.output = kernel, axis, output

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """Return the kernel and its quantizer."""
        if self.kernel is None:
            return []
        return [(getattr(layer, self.kernel), KernelQuantizer(self.axis))]

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """Return nothing: activations are layers of their own."""
        return []

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """Put the rounded kernel in the layer for this call."""
        if self.kernel is not None:
            setattr(layer, self.kernel, quantize_weights[0])

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """Do nothing: activations are layers of their own."""

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """Return the quantizer of the output."""
        return [] if self.output is None else [RangeQuantizer(*self.output)]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"kernel": self.kernel, "axis": self.axis, "output": self.output}


class Quantized(keras.Model):  # type: ignore[misc]
    """A quantized network: as training and the converter need it, or as the file computes it.

    Called for training it rounds simulated values, which has a gradient and is what the converter
    reads; otherwise it computes in whole numbers, see integer.py.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: None = None) -> Any:
        """Return the logits of each head, of (N, S, S, 3) network inputs."""
        if training:
            return super().call(inputs, training=True)
        return integer.run_integer(self, inputs)


def quantize(lowered: keras.Model, ranges: Mapping[str, Range]) -> keras.Model:
    """Return the lowered network computing as the int8 file will, ready for fine-tuning.

    Outputs are named as the lowered network's; ranges are by layer name.
    """

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        twin = type(layer).from_config(layer.get_config())
        twin.build(layer.input_shape)
        twin.set_weights(layer.get_weights())
        return tfmot.QuantizeWrapperV2(twin, layer_config(layer, ranges), name=layer.name)

    # Not by tfmot's quantize_apply, which builds the network four times over to rewrite nothing.
    quantized = keras.models.clone_model(lowered, clone_function=wrap)
    outputs = dict(zip(lowered.output_names, quantized.outputs, strict=True))
    return Quantized(quantized.input, outputs, name=lowered.name)


def output_range(quantized: keras.Model, name: str) -> Range | None:
    """Return the range over which a layer of a quantized network is rounded; None if it is not."""
    wrapper = quantized.get_layer(name)
    output = wrapper.quantize_config.output
    return None if output is None else (float(output[0]), float(output[1]))


def layer_config(layer: keras.layers.Layer, ranges: Mapping[str, Range]) -> LayerConfig:
    """Return the quantization of one lowered layer."""
    kernel, axis = kernel_axis(layer)
    return LayerConfig(kernel, axis, scheme_range(layer, ranges))
