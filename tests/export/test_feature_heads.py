"""A head whose answer is a feature of the other: quantized to the end, as simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.studies import equality
from lmedge import metadata
from lmedge.decoding import softmax
from lmedge.export import convert
from lmedge.export.quantization.grid import SIGMOID_RANGE
from lmedge.export.quantization.lower import lower
from lmedge.export.quantization.ranges import choose_ranges, observe
from lmedge.export.quantization.refine import refine
from lmedge.export.quantization.scheme import layer_config, quantize
from lmedge.export.verification.comparison import run_file
from lmedge.model_file import HEADS, ModelFile, parse_model
from lmedge.taxonomy import Taxonomy
from lmedge.train.arrays import normalise
from lmedge.train.backend import keras
from lmedge.train.network import build_network, predict_logits
from lmedge.train.run import NetworkSpec
from tests import small_run, tiny_backbone
from tests.export.test_convert import assert_gives_probabilities, assert_tensors_are_quantized


def packed(graph: bytes, size: int) -> ModelFile:
    taxonomy = Taxonomy.from_pairs((f"category {n % 3}", f"landmark {n}") for n in range(5))
    info = {"preprocessing": {"size": size, "resize": "squash"}}
    card = metadata.Card(
        name="a name",
        description="a network",
        version="0.1.0",
        taxonomy=taxonomy,
        size=size,
        info=info,
    )
    return parse_model(metadata.pack(graph, card), Path("a.tflite"))


@pytest.fixture(params=[("landmark", ()), ("category", (12,))], ids=lambda p: p[0])
def made(request: pytest.FixtureRequest, tiny: None) -> tuple[Any, ModelFile, np.ndarray]:
    feature, layers = request.param
    keras.utils.set_random_seed(0)
    network = build_network(
        NetworkSpec(
            backbone=tiny_backbone.NAME,
            size=32,
            landmarks=5,
            categories=3,
            head_layers=layers,
            dropout=(0.2,),
            feature=feature,
        )
    )
    for head in HEADS:  # answers that differ from image to image
        kernel, bias = network.get_layer(head).get_weights()
        network.get_layer(head).set_weights([kernel * 8, bias])
    images = np.stack([small_run.draw((20 * n, 90, 240 - 20 * n), n, (32, 32)) for n in range(12)])
    lowered = lower(network)
    observed = observe(lowered, normalise(images), np.random.default_rng(0))
    ranges = refine(lowered, choose_ranges(lowered, observed), normalise(images))
    assert (
        layer_config(lowered.get_layer(f"{feature}_probabilities"), ranges).output == SIGMOID_RANGE
    )
    quantized = quantize(lowered, ranges)
    graph = convert.to_int8(quantized, dict.fromkeys(HEADS, 1.0))
    return quantized, packed(graph, 32), images


def test_every_operation_is_int8(made: tuple[Any, ModelFile, np.ndarray]) -> None:
    _, file, images = made
    floats = {name: n for name, n in file.operators.items() if name[1] != "int8"}
    assert floats == {(name, "float32"): 2 for name in ("DEQUANTIZE", "MUL", "SOFTMAX")}
    assert file.operators["SOFTMAX", "int8"] == 1
    assert file.operators["CONCATENATION", "int8"] == 3  # two of the border
    assert_tensors_are_quantized(file)
    assert_gives_probabilities(file, images)


def test_the_file_computes_what_was_simulated(made: tuple[Any, ModelFile, np.ndarray]) -> None:
    quantized, file, images = made
    found, logits = run_file(file, images), predict_logits(quantized, images)
    for head in HEADS:
        assert np.abs(found[head] - softmax(logits[head])).max() < 1e-3
    rows = equality.compare_logits(quantized, convert.to_int8_logits(quantized), images, folder="a")
    assert all(row.equal >= 0.99 for row in rows), rows
