"""Every backbone becomes an int8 file: what each operation of it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from benchmarks.studies import equality
from lmedge import metadata
from lmedge.decoding import softmax
from lmedge.export import convert
from lmedge.export.quantization.grid import INPUT_RANGE
from lmedge.export.quantization.lower import lower
from lmedge.export.quantization.ranges import Range, choose_ranges, observe
from lmedge.export.quantization.scheme import layer_config, quantize
from lmedge.export.verification.comparison import run_file
from lmedge.model_file import HEADS, ModelFile, parse_model, read_model
from lmedge.taxonomy import Taxonomy
from lmedge.train.arrays import normalise
from lmedge.train.backbones import BACKBONES, Backbone, Stem, StockModel, load_stock_weights
from lmedge.train.backbones.graphs import Stage, bottleneck_block
from lmedge.train.backbones.layers import BorderPad, conv_bn, relu6
from lmedge.train.backend import keras
from lmedge.train.network import build_network, predict_logits
from lmedge.train.run import NetworkSpec
from tests import small_run
from tests.ends import KNOWN_ENDS
from tests.locations import LITE0_WEIGHTS
from tests.processes import lmedge

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDS = {("DEQUANTIZE", "float32"): 2, ("MUL", "float32"): 2, ("SOFTMAX", "float32"): 2}
OPERATORS: Mapping[str, Mapping[str, int]] = {
    "relus": {"CONV_2D": 7, "DEPTHWISE_CONV_2D": 2, "ADD": 1, "MAX_POOL_2D": 1},
    "efficientnet-lite0": {"CONV_2D": 33, "DEPTHWISE_CONV_2D": 16, "ADD": 9},
    "vgg16": {"CONV_2D": 13, "MAX_POOL_2D": 5},
}


def expected_operators(name: str) -> dict[tuple[str, str], int]:
    shared = {"QUANTIZE": 1, "CONCATENATION": 2, "MEAN": 1, "FULLY_CONNECTED": 2}
    return {(operator, "int8"): n for operator, n in {**shared, **OPERATORS[name]}.items()} | ENDS


def relus(image: Any, *, widest: bool = False) -> Any:
    """Draw what VGG16 and EfficientNet-Lite0 are made of, small, with the last average alone."""
    x = BorderPad(kernel_size=3, strides=1, name="stem_pad")(image)
    x = keras.layers.Conv2D(8, 3, bias_initializer="ones", name="stem_conv")(x)
    x = keras.layers.ReLU(name="stem_activation")(x)
    x = keras.layers.MaxPooling2D(2, name="stem_pool")(x)
    x = bottleneck_block(x, Stage(3, 1, 8, 2, 1), 1, "block1a_", lite=True)
    x = bottleneck_block(x, Stage(5, 1, 12, 2, 2), 2, "block1b_", lite=True)
    x = conv_bn(x, 24, 3, 1, "top_conv", "top_bn")
    x = keras.layers.Conv2D(24, 1, name="top_last")(relu6(x, "top_activation"))
    return keras.layers.GlobalAveragePooling2D(name="features")(x)


class Made:
    """A network through every step but training and fine-tuning."""

    def __init__(self, name: str, size: int, weights: str = "none") -> None:
        keras.utils.set_random_seed(0)
        self.name, self.size = name, size
        self.network = build_network(
            NetworkSpec(backbone=name, size=size, landmarks=5, categories=3)
        )
        if weights != "none":
            load_stock_weights(self.network, BACKBONES[name], weights)
        colours = np.random.default_rng(0).integers(20, 236, (24, 3)).tolist()
        drawn = [small_run.draw(c, n, (size, size)) for n, c in enumerate(colours)]
        self.pictures = np.stack(drawn)
        self.lowered = lower(self.network)
        images = normalise(self.pictures)
        observed = observe(self.lowered, images, np.random.default_rng(0))
        self.ranges: dict[str, Range] = choose_ranges(self.lowered, observed)
        self.quantized = quantize(self.lowered, self.ranges)
        graph = convert.to_int8(self.quantized, dict.fromkeys(HEADS, 1.0))
        taxonomy = Taxonomy.from_pairs((f"category {n % 3}", f"landmark {n}") for n in range(5))
        info = {"preprocessing": {"size": size, "resize": "squash"}}
        card = metadata.Card(
            name="made", description=name, version="0.1.0", taxonomy=taxonomy, size=size, info=info
        )
        self.file: ModelFile = parse_model(metadata.pack(graph, card), Path("made.tflite"))


@pytest.fixture(scope="module")
def small() -> Iterator[Made]:
    with pytest.MonkeyPatch.context() as patch:
        never = StockModel(keras.applications.VGG16, Stem("stem_pad", "stem_conv", None))
        patch.setitem(BACKBONES, "relus", Backbone("relus", relus, never, ("stem", "block1"), 24))
        yield Made("relus", 32)


@pytest.fixture(scope="module")
def lite0() -> Made:
    weights = str(LITE0_WEIGHTS) if LITE0_WEIGHTS.exists() else "none"
    return Made("efficientnet-lite0", 64, weights)


@pytest.fixture(scope="module")
def vgg16() -> Made:
    return Made("vgg16", 64)


@pytest.fixture(
    params=[
        "small",
        pytest.param("lite0", marks=pytest.mark.slow),
        pytest.param("vgg16", marks=pytest.mark.slow),
    ]
)
def made(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_lowering_changes_nothing(made: Made) -> None:
    before = predict_logits(made.network, made.pictures)
    after = predict_logits(made.lowered, made.pictures)
    for head, logits in before.items():
        scale = float(np.abs(logits).max())
        np.testing.assert_allclose(after[head], logits, rtol=0, atol=1e-4 * scale)


def test_what_is_quantized(made: Made) -> None:
    """A ReLU and the convolution in front of it are one; a maximum has the scale it is taken on."""
    kinds = set()
    for layer in made.lowered.layers[1:]:
        found = layer_config(layer, made.ranges).output
        kinds.add(type(layer).__name__)
        followers = [node.layer for node in layer.outbound_nodes]
        before_relu = any(isinstance(follower, keras.layers.ReLU) for follower in followers)
        if before_relu or isinstance(layer, keras.layers.MaxPooling2D):
            assert found is None, layer.name
        elif layer.name == "image_in" or isinstance(layer, BorderPad):
            assert found == INPUT_RANGE
        else:
            assert found == made.ranges[layer.name]
        if isinstance(layer, keras.layers.ReLU):
            low, high = made.ranges[layer.name]
            assert low == 0
            assert high <= (layer.max_value or np.inf)
    assert {"Conv2D", "ReLU", "BorderPad", "Dense", "GlobalAveragePooling2D"} <= kinds


def test_operations(made: Made) -> None:
    assert dict(made.file.operators) == expected_operators(made.name)


def test_activations_are_part_of_the_convolutions(made: Made) -> None:
    """With the scale of their output: six at most behind a ReLU6, and zero is the lowest value."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(made.file.data, 0))
    (graph,) = model.subgraphs
    fused = [
        (operator.builtinOptions.fusedActivationFunction, graph.tensors[operator.outputs[0]])
        for operator in graph.operators
        if isinstance(
            operator.builtinOptions, schema.Conv2DOptionsT | schema.DepthwiseConv2DOptionsT
        )
    ]
    limits = {schema.ActivationFunctionType.RELU: np.inf, schema.ActivationFunctionType.RELU6: 6.0}
    active = [(limits[kind], tensor.quantization) for kind, tensor in fused if kind in limits]
    relus = [layer for layer in made.lowered.layers if isinstance(layer, keras.layers.ReLU)]
    assert len(active) == len(relus)
    for limit, quantization in active:
        assert list(quantization.zeroPoint) == [-128]
        assert 255 * quantization.scale[0] <= limit * (1 + 1e-5)


def test_a_maximum_is_taken_on_the_same_scale(made: Made) -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(made.file.data, 0))
    (graph,) = model.subgraphs
    pools = [op for op in graph.operators if isinstance(op.builtinOptions, schema.Pool2DOptionsT)]
    assert len(pools) == OPERATORS[made.name].get("MAX_POOL_2D", 0)
    for pool in pools:
        before, after = (graph.tensors[n].quantization for n in (pool.inputs[0], pool.outputs[0]))
        assert list(before.scale) == list(after.scale)
        assert list(before.zeroPoint) == list(after.zeroPoint)


def test_the_file_computes_what_was_simulated_and_that_is_close_to_float(made: Made) -> None:
    file = run_file(made.file, made.pictures)
    before = predict_logits(made.network, made.pictures)
    logits = predict_logits(made.quantized, made.pictures)
    for head in HEADS:
        assert np.corrcoef(before[head].ravel(), logits[head].ravel())[0, 1] > 0.98
        np.testing.assert_allclose(file[head], softmax(logits[head]), atol=1e-4)
    rows = equality.compare_logits(
        made.quantized, convert.to_int8_logits(made.quantized), made.pictures, folder="a"
    )
    assert all(row.equal >= 0.99 for row in rows), rows


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnetb0", "efficientnet-lite0", "vgg16"])
def test_from_photographs_to_a_file_at_the_command_line(name: str, tmp_path: Path) -> None:
    """Random weights and two epochs: the file is forced, it is its operations that count."""
    photographs = small_run.write_photographs(tmp_path / "photographs", 8)
    sets = ["head.epochs=2", "fine_tune.epochs=2", "fine_tune.batch=8", "quantize.epochs=1"]
    sets += ["quantize.calibration_pictures=12", "fine_tune.learning_rate=0.0005"]
    options = [word for setting in sets for word in ("--set", setting)]
    trained = lmedge(
        "train",
        photographs,
        "--backbone",
        name,
        "--weights",
        "none",
        "--image-size",
        64,
        "--out",
        tmp_path / "run",
        *options,
        cwd=tmp_path,
        seconds=500,
    )
    assert trained.returncode == 0, trained.stderr
    path = tmp_path / "made.tflite"
    exported = lmedge(
        "export", tmp_path / "run", "--int8", "-o", path, "--force", cwd=tmp_path, seconds=500
    )
    assert exported.returncode == 0, exported.stderr
    assert "Traceback" not in trained.stderr + exported.stderr
    file = read_model(path)
    floats = {key: n for key, n in file.operators.items() if key[1] != "int8"}
    assert floats == {(operator, "float32"): n for operator, n in KNOWN_ENDS.items()}
    if name in OPERATORS:
        expected = expected_operators(name) | floats
        expected["FULLY_CONNECTED", "int8"] += 1  # `known` reads the features as the heads do
        assert dict(file.operators) == expected
    images = np.stack([small_run.draw((90, 90, 90), n, (64, 64)) for n in range(3)])
    for values in run_file(file, images).values():
        np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-5)
