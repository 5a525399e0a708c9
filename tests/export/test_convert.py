"""The file: what is in it, operation by operation."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from lmedge.classifier import Classifier
from lmedge.errors import LmedgeError
from lmedge.export import convert
from lmedge.export.verification.comparison import run_file
from lmedge.model_file import HEADS, KNOWN, ModelFile, parse_model
from lmedge.train.arrays import normalise
from lmedge.train.backend import keras
from tests.ends import ENDS, KNOWN_ENDS

if TYPE_CHECKING:
    from tests.export.conftest import Exported, Real

DTYPE = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}


def graph_of(file: ModelFile) -> tuple[Any, Any]:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file.data, 0))
    (graph,) = model.subgraphs
    return model, graph


def assert_int8_but_for_the_ends(file: ModelFile) -> None:
    """Every operation is int8; only behind the features and logits is anything float."""
    floats = {
        operator: count for operator, count in file.operators.items() if operator[1] != "int8"
    }
    ends = ENDS if file.known is None else KNOWN_ENDS
    assert floats == {(name, "float32"): count for name, count in ends.items()}
    assert file.operators["QUANTIZE", "int8"] == 1
    names = {name for name, _ in file.operators}
    assert not names & {"SHAPE", "STRIDED_SLICE", "PACK", "RESHAPE", "CAST", "GATHER", "PAD"}
    assert not {name for name in names if name.startswith("OPERATOR_")}


def assert_tensors_are_quantized(file: ModelFile) -> None:
    """No float tensor but behind the logits; every kernel has a scale for each channel."""
    model, graph = graph_of(file)
    codes = [max(code.deprecatedBuiltinCode, code.builtinCode) for code in model.operatorCodes]
    kinds = Counter(DTYPE[tensor.type] for tensor in graph.tensors)
    # Of each head: dequantized, scaled, softmax; and the temperatures. With the third output its
    # own operations' results, and four constants.
    most = 8 if file.known is None else 8 + sum(KNOWN_ENDS.values()) - 6 + 4
    assert 6 <= kinds["FLOAT32"] <= most, kinds
    kernels = {
        schema.BuiltinOperator.CONV_2D: 0,
        schema.BuiltinOperator.DEPTHWISE_CONV_2D: 3,
        schema.BuiltinOperator.FULLY_CONNECTED: 0,
    }
    seen = 0
    for operator in graph.operators:
        code = codes[operator.opcodeIndex]
        if code not in kernels:
            continue
        if DTYPE[graph.tensors[operator.inputs[0]].type] == "FLOAT32":
            assert file.known is not None  # which category belongs to which landmark
            continue
        seen += 1
        kernel = graph.tensors[operator.inputs[1]]
        assert DTYPE[kernel.type] == "INT8"
        if operator.inputs[2] >= 0:  # a bias of zeros is left out
            assert DTYPE[graph.tensors[operator.inputs[2]].type] == "INT32"
        channels = kernel.shape[kernels[code]]
        assert len(kernel.quantization.scale) == channels, kernel.name
        assert not np.any(kernel.quantization.zeroPoint)
    assert seen


def assert_takes_raw_bytes(file: ModelFile, size: int) -> None:
    _, graph = graph_of(file)
    assert file.image.shape == (1, size, size, 3)
    assert file.image.dtype == "uint8"
    quantization = graph.tensors[file.image.index].quantization
    assert quantization.scale == pytest.approx([1 / 57], rel=1e-6)
    assert list(quantization.zeroPoint) == [114]


def assert_gives_probabilities(file: ModelFile, images: np.ndarray) -> None:
    outputs = {**file.heads, **({} if file.known is None else {KNOWN: file.known})}
    found = run_file(file, images)
    assert found.keys() == outputs.keys()
    for head, values in found.items():
        assert outputs[head].dtype == "float32"
        assert values.dtype == np.float32
        assert values.shape == (len(images), outputs[head].shape[1])
        assert (values >= 0).all()
        np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-5)


class TestEfficientNetB0:
    def test_operations(self, real: Real) -> None:
        assert_int8_but_for_the_ends(real.file)
        assert dict(real.file.operators) == {
            ("QUANTIZE", "int8"): 1,
            ("CONCATENATION", "int8"): 3,  # the border of the stem, and the two averages
            ("CONV_2D", "int8"): 65,
            ("LOGISTIC", "int8"): 65,
            ("MUL", "int8"): 65,
            ("MEAN", "int8"): 18,
            ("DEPTHWISE_CONV_2D", "int8"): 16,
            ("ADD", "int8"): 9,
            ("FULLY_CONNECTED", "int8"): 2,
            ("DEQUANTIZE", "float32"): 2,
            ("MUL", "float32"): 2,
            ("SOFTMAX", "float32"): 2,
        }

    def test_tensors(self, real: Real) -> None:
        assert_tensors_are_quantized(real.file)
        assert_takes_raw_bytes(real.file, 64)

    def test_size(self, real: Real) -> None:
        """At 224 the same weights, and longer numbers in a few shapes."""
        assert len(real.file.data) <= 5_100_000

    def test_probabilities(self, real: Real) -> None:
        assert_gives_probabilities(real.file, real.pictures)

    def test_sigmoids_have_their_fixed_range(self, real: Real) -> None:
        model, graph = graph_of(real.file)
        codes = [max(code.deprecatedBuiltinCode, code.builtinCode) for code in model.operatorCodes]
        outputs = [
            graph.tensors[operator.outputs[0]].quantization
            for operator in graph.operators
            if codes[operator.opcodeIndex] == schema.BuiltinOperator.LOGISTIC
        ]
        assert len(outputs) == 65
        for quantization in outputs:
            assert list(quantization.scale) == [1 / 256]
            assert list(quantization.zeroPoint) == [-128]


class TestTiny:
    def test_operations_and_tensors(self, exported: Exported) -> None:
        file = parse_model(exported.outcome.file.data, exported.path)
        assert_int8_but_for_the_ends(file)
        assert_tensors_are_quantized(file)
        assert_takes_raw_bytes(file, 32)
        assert_gives_probabilities(file, exported.run.images("test"))

    def test_the_classifier_takes_it(self, exported: Exported) -> None:
        """What `lmedge predict` and the camera do with the very file."""
        from lmedge.image import read_image

        classifier = Classifier(exported.path)
        entries = exported.run.entries("test")
        right = [
            classifier.classify(read_image(entry.image.path)).landmark == entry.image.landmark
            for entry in entries
        ]
        scores = {
            comparison.part: comparison for comparison in exported.outcome.findings.comparisons
        }
        assert np.mean(right) == pytest.approx(scores["test"].file_scores["landmark"].accuracy)


def heads(x: Any) -> dict[str, Any]:
    return {head: keras.layers.Dense(3, name=head)(x) for head in HEADS}


class TestFloat:
    @pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
    def test_the_temperature_is_in_the_graph(self, temperature: float) -> None:
        from ai_edge_litert.interpreter import Interpreter

        pixels = keras.Input((8, 8, 3))
        network = keras.Model(pixels, heads(keras.layers.GlobalAveragePooling2D()(pixels)))
        data = convert.to_float32(network, {"landmark": temperature, "category": 1.0})
        runner = Interpreter(model_content=data).get_signature_runner()
        image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
        inputs = normalise(image)
        given = {name: np.asarray(value)[0] for name, value in network(inputs).items()}
        found = runner(image=image)
        for head, divisor in (("landmark", temperature), ("category", 1.0)):
            scaled = np.exp(given[head] / divisor)
            np.testing.assert_allclose(found[head][0], scaled / scaled.sum(), rtol=1e-3)

    def test_a_failed_conversion_is_one_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> bytes:
            raise RuntimeError("from C++\nover several lines")

        class Converter:
            convert = staticmethod(fail)

        with pytest.raises(LmedgeError, match="the TFLite converter failed: from C"):
            convert._convert(Converter())
