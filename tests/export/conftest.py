"""Fixtures of the export tests: the int8 file of the finished run, and the real network's."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lmedge import cli
from tests.locations import B0_WEIGHTS, PHOTOGRAPHS, missing

if TYPE_CHECKING:
    from lmedge.export.exporting import Outcome
    from lmedge.export.quantization.ranges import Range
    from lmedge.model_file import ModelFile
    from lmedge.train.run import Run

REAL_SIZE = 64


@pytest.fixture(scope="session")
def trained(finished_run: Run) -> Run:
    """A finished run. Shared: not to be changed."""
    return finished_run


@dataclasses.dataclass(frozen=True)
class Exported:
    """An export as it went: the quantized network, `known` and the bare graph beside the file.

    `calls` counts what was called: "pack", "parse_model", and "KIND network on PART".
    """

    run: Run
    path: Path
    outcome: Outcome
    quantized: Any
    graph: bytes
    known: Any
    calls: Mapping[str, int]


@pytest.fixture(scope="package")
def exported(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The int8 file of the finished run. Shared: not to be changed."""
    from lmedge.export import convert, exporting, formats
    from lmedge.export.quantization import finetune, scheme
    from lmedge.export.verification.gate import Limits
    from lmedge.train import network

    path = tmp_path_factory.mktemp("exported") / "a file.tflite"
    seen: dict[str, Any] = {}
    calls: Counter[str] = Counter()
    whole = convert.to_int8

    def to_int8(quantized: Any, temperatures: Mapping[str, float], known: Any) -> bytes:
        seen.update(quantized=quantized, graph=whole(quantized, temperatures, known), known=known)
        return bytes(seen["graph"])

    def counted(name: str) -> Callable[..., Any]:
        function = getattr(exporting, name)

        def call(*words: Any) -> Any:
            calls[name] += 1
            return function(*words)

        return call

    def predict(model: Any, images: Any) -> Any:
        (part,) = (name for name, own in trained.split.parts.items() if own == images._entries)
        kind = "int8" if isinstance(model, scheme.Quantized) else "float"
        calls[f"{kind} network on {part}"] += 1
        return network.predict_logits(model, images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "to_int8", to_int8)
        for name in ("pack", "parse_model"):
            patch.setattr(exporting, name, counted(name))
        for module in (formats, finetune):
            patch.setattr(module, "predict_logits", predict)
        outcome = exporting.export_format(
            trained, path, "int8", exporting.Options(limits=Limits(tolerance=0.01))
        )
    return Exported(trained, path, outcome, **seen, calls=calls)


@dataclasses.dataclass(frozen=True)
class Real:
    """EfficientNetB0 with 30 landmarks and 6 categories, through every step but fine-tuning."""

    network: Any
    lowered: Any
    ranges: Mapping[str, Range]
    quantized: Any
    file: ModelFile
    pictures: np.ndarray


def _real_images() -> np.ndarray:
    from lmedge.image import Resize, prepare, read_image

    paths = sorted(PHOTOGRAPHS.glob("*/*/*.jpg"))[::14][:24]
    return np.stack([prepare(read_image(path), REAL_SIZE, Resize.SQUASH) for path in paths])


@pytest.fixture(scope="package")
def real() -> Real:
    """The network with ImageNet weights, on photographs. Takes a minute."""
    if reason := missing(PHOTOGRAPHS, B0_WEIGHTS):
        pytest.skip(reason)
    from lmedge import metadata
    from lmedge.export import convert
    from lmedge.export.quantization import lower, ranges
    from lmedge.export.quantization import scheme as quantize
    from lmedge.model_file import HEADS, parse_model
    from lmedge.taxonomy import Taxonomy
    from lmedge.train.arrays import normalise
    from lmedge.train.backbones import BACKBONES, load_stock_weights
    from lmedge.train.backend import keras
    from lmedge.train.network import build_network
    from lmedge.train.run import NetworkSpec

    keras.utils.set_random_seed(0)
    network = build_network(
        NetworkSpec(
            backbone="efficientnetb0",
            size=REAL_SIZE,
            landmarks=30,
            categories=6,
            features="widest",
        )
    )
    load_stock_weights(network, BACKBONES["efficientnetb0"], str(B0_WEIGHTS))
    images = _real_images()
    lowered = lower.lower(network)
    observed = ranges.observe(lowered, normalise(images), np.random.default_rng(0))
    chosen = ranges.choose_ranges(lowered, observed)
    quantized = quantize.quantize(lowered, chosen)
    graph = convert.to_int8(quantized, dict.fromkeys(HEADS, 1.0))
    taxonomy = Taxonomy.from_pairs((f"category {n % 6}", f"landmark {n:02d}") for n in range(30))
    info = {"preprocessing": {"size": REAL_SIZE, "resize": "squash"}}
    card = metadata.Card(
        name="real",
        description="EfficientNetB0",
        version="0.1.0",
        taxonomy=taxonomy,
        size=REAL_SIZE,
        info=info,
    )
    file = parse_model(metadata.pack(graph, card), Path("real.tflite"))
    return Real(network, lowered, chosen, quantized, file, images)


@pytest.fixture
def main(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Run the command line in this process: exit code, standard output, standard error."""
    ours = logging.getLogger("lmedge")
    level = ours.level

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main([str(word) for word in words])
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out, printed.err

    yield run
    ours.setLevel(level)  # -q of one test is not for the next
