"""EfficientNetB0 from each published layout: the features of another implementation of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lmedge.errors import WeightsError
from lmedge.train.arrays import normalise
from lmedge.train.backbones import BACKBONES, check_pretrained, load_stock_weights
from lmedge.train.backend import keras
from tests.stock_features import cosines
from tests.train.backbones import layouts
from tests.train.backbones.layouts import ADVPROP, EVEN, IMAGENET, ODD, refused

B0 = BACKBONES["efficientnetb0"]


@pytest.fixture
def features(models: dict[int, Any]) -> Callable[..., np.ndarray]:
    """Load weights and return the features of `layouts.images`."""

    def compute(weights: object, size: int = EVEN) -> np.ndarray:
        load_stock_weights(models[size], B0, str(weights))
        return models[size].predict(normalise(layouts.images(size)), verbose=0)

    return compute


def assert_alike(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape == (4, 1280)
    # the direction in which the images differ counts, not only what they share
    for a, b in ((found, expected), (found - found.mean(0), expected - expected.mean(0))):
        assert cosines(a, b).min() > 0.9999, cosines(a, b)
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


class TestKeras:
    @pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
    @pytest.mark.parametrize("name", ["weights.h5", "whole.h5", "model.weights.h5"])
    def test_with_top(
        self, stock: Any, expected: Any, features: Any, tmp_path: Path, name: str
    ) -> None:
        path = tmp_path / name
        stock.save(path) if name == "whole.h5" else stock.save_weights(path)
        assert_alike(features(path), expected())

    @pytest.fixture(scope="class")
    def imagenet(self, stock: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
        """The stock model as of a download: Keras gives it a second scaling."""
        path = tmp_path_factory.mktemp("imagenet") / "download.h5"
        base = keras.applications.EfficientNetB0(
            include_top=False, weights=None, input_shape=(EVEN, EVEN, 3)
        )
        for ours, theirs in zip(base.layers, stock.layers, strict=False):
            ours.set_weights(theirs.get_weights())
        base.save_weights(path)
        module = keras.applications.EfficientNetB0.__module__
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"{module}.data_utils.get_file", lambda *_, **__: str(path))
            return keras.applications.EfficientNetB0(include_top=False, input_shape=(EVEN, EVEN, 3))

    @pytest.fixture(scope="class")
    def scaled_twice(self, imagenet: Any) -> np.ndarray:
        """The features of that model."""
        return layouts.stock_features(imagenet, layouts.images(EVEN))

    @pytest.mark.parametrize("name", ["weights.h5", "model.weights.h5"])
    def test_the_second_scaling_of_imagenet_models_is_read(
        self,
        imagenet: Any,
        scaled_twice: np.ndarray,
        expected: Any,
        features: Any,
        tmp_path: Path,
        name: str,
    ) -> None:
        imagenet.save_weights(tmp_path / name)
        assert_alike(features(tmp_path / name), scaled_twice)
        if name == "model.weights.h5":  # Keras 3 has a layer of another kind in its place
            with h5py.File(tmp_path / name, "r+") as file:
                file.move("layers/tf_op_lambda", "layers/rescaling_1")
            assert_alike(features(tmp_path / name), scaled_twice)
        assert cosines(scaled_twice, expected()).min() < 0.9999

    def test_the_published_file_with_top_is_known(
        self, stock: Any, features: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stock.save_weights(tmp_path / "b0.h5")
        before = features(tmp_path / "b0.h5")
        md5 = hashlib.md5((tmp_path / "b0.h5").read_bytes()).hexdigest()
        download = dataclasses.replace(B0.pretrained.download, md5_top=md5)
        known = dataclasses.replace(B0.pretrained, download=download)
        monkeypatch.setitem(B0.__dict__, "pretrained", known)
        assert cosines(before, features(tmp_path / "b0.h5")).min() < 0.9999

    def test_an_input_given_takes_the_place_of_the_file_s(
        self, stock: Any, plain: Any, features: Any, tmp_path: Path
    ) -> None:
        stock.save_weights(tmp_path / "weights.h5")
        found = features(f"{tmp_path / 'weights.h5'}@advprop")
        assert_alike(found, plain(EVEN, epsilon=1e-3, symmetric=False, statistics=ADVPROP))


class TestQubvel:
    @pytest.mark.parametrize("top", [False, True])
    @pytest.mark.parametrize(("name", "statistics"), [("imagenet", IMAGENET), ("advprop", ADVPROP)])
    def test_the_input_is_given(
        self,
        features: Any,
        tmp_path: Path,
        top: bool,
        name: str,
        statistics: Any,
        stock: Any,
        expected: Any,
    ) -> None:
        path = layouts.write_named(tmp_path / "b0.h5", stock, top=top)
        assert_alike(features(f"{path}@{name}"), expected(statistics))

    def test_without_it_nothing_is_guessed(self, models: Any, stock: Any, tmp_path: Path) -> None:
        path = layouts.write_named(tmp_path / "b0.h5", stock)
        refused(models[EVEN], path, "does not contain the input.*@imagenet.*@advprop")
        refused(models[EVEN], f"{path}@torch", "'torch' is not an input; allowed are imagenet")

    @pytest.mark.parametrize("kind", ["sha256", "md5"])
    def test_published_files_are_known(
        self,
        stock: Any,
        expected: Any,
        features: Any,
        tmp_path: Path,
        monkeypatch: Any,
        kind: str,
    ) -> None:
        path = layouts.write_named(tmp_path / "b0.h5", stock)
        digest = hashlib.new(kind, path.read_bytes()).hexdigest()
        monkeypatch.setattr("lmedge.train.backbones.files.QUBVEL_FILES", {digest})
        assert_alike(features(path), expected())


class TestTimm:
    @pytest.mark.parametrize("statistics", [IMAGENET, ADVPROP])
    @pytest.mark.parametrize("named", ["", "model.safetensors"])
    def test_networks_of_tensorflow(
        self, tensors: Any, plain: Any, features: Any, tmp_path: Path, statistics: Any, named: str
    ) -> None:
        folder = layouts.write_timm(tmp_path / "b0", tensors, "tf_efficientnet_b0", statistics)
        wanted = plain(EVEN, epsilon=1e-3, symmetric=False, statistics=statistics)
        assert_alike(features(folder / named), wanted)

    def test_networks_of_pytorch_at_sizes_where_padding_agrees(
        self, tensors: Any, plain: Any, features: Any, tmp_path: Path
    ) -> None:
        folder = layouts.write_timm(tmp_path / "b0", tensors, "efficientnet_b0", IMAGENET)
        found = features(folder, ODD)
        assert_alike(found, plain(ODD, epsilon=1e-5, symmetric=True))
        # the constant of the variances is told apart by this
        other = plain(ODD, epsilon=1e-3, symmetric=True)
        assert cosines(found, other).min() < 0.9999

    def test_they_are_refused_at_other_sizes(
        self, models: Any, tensors: Any, plain: Any, tmp_path: Path
    ) -> None:
        folder = layouts.write_timm(tmp_path / "b0", tensors, "efficientnet_b0", IMAGENET)
        told = r"sizes of 32 n \+ 1 alone; pass --image-size 225, or take .*timm/tf_efficientnet_b0"
        refused(models[EVEN], folder, told)
        with pytest.raises(WeightsError, match=told):
            check_pretrained(B0.name, str(folder), 224)
        check_pretrained(B0.name, str(folder), 225)
        same, alike = (
            plain(EVEN, epsilon=1e-5, symmetric=symmetric) for symmetric in (False, True)
        )
        assert cosines(same, alike).min() < 0.9999

    def test_the_older_config(self, tensors: Any, features: Any, tmp_path: Path) -> None:
        folder = layouts.write_timm(tmp_path / "b0", tensors, "tf_efficientnet_b0", IMAGENET)
        expected = features(folder)
        config = json.loads((folder / "config.json").read_text())
        layouts.write_json(folder / "config.json", {**config.pop("pretrained_cfg"), **config})
        assert np.array_equal(features(folder), expected)


class TestKerasHub:
    @pytest.mark.parametrize("named", ["", "model.weights.h5"])
    def test_a_preset(
        self, stock: Any, plain: Any, features: Any, tmp_path: Path, named: str
    ) -> None:
        folder = layouts.write_hub(tmp_path / "b0", stock)
        assert_alike(features(folder / named, ODD), plain(ODD, epsilon=1e-5, symmetric=True))

    def test_the_converter_inside_of_a_preprocessor(
        self, stock: Any, features: Any, tmp_path: Path
    ) -> None:
        folder = layouts.write_hub(tmp_path / "b0", stock)
        expected = features(folder, ODD)
        converter = json.loads((folder / "image_converter.json").read_text())
        (folder / "image_converter.json").unlink()
        layouts.write_json(folder / "preprocessor.json", {"config": {"image_converter": converter}})
        assert np.array_equal(features(folder, ODD), expected)

    def test_without_a_converter_the_input_is_given(
        self, stock: Any, plain: Any, models: Any, features: Any, tmp_path: Path
    ) -> None:
        folder = layouts.write_hub(tmp_path / "b0", stock)
        (folder / "image_converter.json").unlink()
        refused(models[ODD], folder, "does not contain the input")
        wanted = plain(ODD, epsilon=1e-5, symmetric=True, statistics=ADVPROP)
        assert_alike(features(f"{folder}@advprop", ODD), wanted)

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"stackwise_strides": [1, 2, 2, 2, 2, 2, 1]}, "has stackwise_strides"),
            ({"stem_conv_padding": "same"}, "has stem_conv_padding same, expected is valid"),
            ({"activation": "relu6"}, "has the activation relu6"),
            ({"batch_norm_epsilon": "small"}, "has batch_norm_epsilon small"),
        ],
    )
    def test_another_network_is_refused(
        self, stock: Any, models: Any, tmp_path: Path, changes: Any, told: str
    ) -> None:
        refused(models[ODD], layouts.write_hub(tmp_path / "b0", stock, **changes), told)
