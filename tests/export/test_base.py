"""A base made of weights and images: as simulated, the same each time, with its origin inside."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmedge.base_file import SHIPPED, BaseFile, read_base
from lmedge.errors import WeightsError
from lmedge.export.base import WeightsOrigin, float_backbone, int8_graph, make_base, pack_base
from lmedge.golden import verify_base
from lmedge.interpreter import FeatureInterpreter
from tests import tiny_backbone
from tests.locations import B0_WEIGHTS, ROOT, needs
from tests.studies.running import run

SIZE = 32


def images(count: int = 8) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_backbone.save_stock_weights(tmp_path_factory.mktemp("weights") / "tiny.h5")


@pytest.fixture(scope="module")
def origin(weights: Path) -> WeightsOrigin:
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return WeightsOrigin(file="tiny.h5", sha256=digest, origin="a test", licence="none")


@pytest.fixture(scope="module")
def network(weights: Path) -> Any:
    with tiny_backbone.installed():
        return float_backbone(tiny_backbone.NAME, weights, SIZE)


@pytest.fixture(scope="module")
def base(network: Any, origin: WeightsOrigin) -> BaseFile:
    return make_base(network, images(), weights=origin, calibration="noise")


def test_its_features_are_near_those_of_the_float_network(network: Any, base: BaseFile) -> None:
    from lmedge.train.network import predict_outputs

    wanted = predict_outputs(network, images())["features"]
    runner = FeatureInterpreter(base)
    found = np.stack([runner.run(image) for image in images()]).astype(np.float64)
    found = (found - base.zero_point) * base.scale
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    assert ((found * wanted).sum(axis=1) / lengths).min() > 0.98
    # The images differ: it is not one vector for all.
    assert np.ptp(found, axis=0).max() > 2 * base.scale


def test_everything_in_it_is_int8(base: BaseFile) -> None:
    # The input's own quantization is no arithmetic.
    assert {dtype for _, dtype in base.operators} == {"int8"}
    # Both averages have the scale of what they are joined to: nothing is rounded twice.
    assert base.operators["QUANTIZE", "int8"] == 1
    assert base.features.shape == (1, 16 + 24)


def test_the_same_weights_and_images_give_the_same_bytes(
    network: Any, base: BaseFile, origin: WeightsOrigin
) -> None:
    graph = int8_graph(network, images())
    again = pack_base(graph, network.name, origin, "noise")
    assert again.data == base.data


def test_it_holds_its_origin_and_its_answers(base: BaseFile, origin: WeightsOrigin) -> None:
    provenance = base.info["provenance"]
    assert provenance["weights"]["sha256"] == origin.sha256
    assert provenance["weights"]["licence"] == "none"
    assert provenance["calibration"] == "noise"
    assert provenance["backbone"] == tiny_backbone.NAME
    assert verify_base(base).identical


def test_other_weights_are_refused(origin: WeightsOrigin, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    other.write_bytes(b"other")
    with pytest.raises(WeightsError, match=r"other.h5: its SHA-256 is \w+, not \w+; pass tiny.h5"):
        origin.check(other)
    with pytest.raises(WeightsError, match=r"none.h5: cannot be read \(No such file"):
        origin.check(tmp_path / "none.h5")


class TestShipped:
    """The base that comes with lmedge."""

    def test_it_runs_here_as_it_was_made(self) -> None:
        base = read_base()
        assert base.path == SHIPPED
        assert base.features.shape == (1, 2432)
        assert base.size == 224
        assert verify_base(base).passed
        assert len(base.data) < 5_100_000

    def test_its_card_has_the_licence_that_notice_repeats(self) -> None:
        weights = read_base().info["provenance"]["weights"]
        assert weights["licence"] == "Apache-2.0, see NOTICE"
        notice = " ".join((ROOT / "NOTICE").read_text("utf-8").split())
        assert "lmedge/teach/base.tflite" in notice
        assert "tensorflow/efficientnet/b0/classification/1" in notice
        assert "tensorflow/efficientnet/b0/classification/1" in weights["origin"]

    @pytest.mark.slow
    @needs(B0_WEIGHTS)
    def test_it_is_made_again_from_its_weights(self, tmp_path: Path) -> None:
        out = tmp_path / "base.tflite"
        words = ["--weights", str(B0_WEIGHTS), "--out", str(out)]
        made = run("-m", "benchmarks.studies.make_base", *words)
        assert made.returncode == 0, made.stderr
        assert out.read_bytes() == SHIPPED.read_bytes()
