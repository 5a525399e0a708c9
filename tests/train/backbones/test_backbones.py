"""Backbones: our flat graphs compute what the stock models do, whatever their input layers."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lmedge.errors import WeightsError
from lmedge.train.arrays import normalise
from lmedge.train.backbones import (
    BACKBONES,
    Backbone,
    StockModel,
    check_pretrained,
    load_stock_weights,
)
from lmedge.train.backend import keras
from tests import tiny_backbone
from tests.in_process import lmedge
from tests.locations import B0_WEIGHTS, LITE0_WEIGHTS, PHOTOGRAPHS, needs
from tests.processes import assert_refused
from tests.stock_features import cosines, draw, groups_of_layers, photographs

needs_shared = needs(B0_WEIGHTS, PHOTOGRAPHS)
GET_FILE = f"{keras.applications.EfficientNetB0.__module__}.data_utils.get_file"


def stock_features(stock: Any, pixels: np.ndarray) -> np.ndarray:
    maps = stock.predict(pixels.astype(np.float32), verbose=0)
    return maps.mean(axis=(1, 2))


@pytest.fixture(scope="module")
def real() -> Backbone:
    return BACKBONES["efficientnetb0"]


@pytest.fixture(scope="module")
def ours(real: Backbone) -> Any:
    """Our EfficientNetB0 at 224 with the stock weights of a file."""
    model = draw(real, 224)
    load_stock_weights(model, real, str(B0_WEIGHTS))
    return model


@pytest.fixture(scope="module")
def stock() -> Any:
    """Keras' own EfficientNetB0; its padding is drawn for one input size."""
    return keras.applications.EfficientNetB0(
        include_top=False, weights=str(B0_WEIGHTS), input_shape=(224, 224, 3)
    )


@pytest.fixture(scope="module")
def small(real: Backbone) -> Any:
    """Our EfficientNetB0 at 64; each test gives it its weights."""
    return draw(real, 64)


@pytest.fixture(scope="module")
def downloaded(real: Backbone, small: Any) -> list[np.ndarray]:
    """The weights of our EfficientNetB0 for "imagenet"."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GET_FILE, lambda *_, **__: str(B0_WEIGHTS))
        load_stock_weights(small, real, "imagenet")
    return small.get_weights()


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stand in for Keras' download."""

    def set_to(get_file: Any) -> None:
        monkeypatch.setattr(GET_FILE, get_file)

    return set_to


@needs_shared
class TestFeatures:
    def test_at_the_usual_size(self, ours: Any, stock: Any) -> None:
        pixels = photographs(224)
        found = ours.predict(normalise(pixels), verbose=0)
        alike = cosines(found, stock_features(stock, pixels))
        assert alike.min() > 0.9999, alike

    def test_at_an_odd_size(self, real: Backbone, ours: Any, stock: Any) -> None:
        side = 97  # as are the sides of the maps in it: 49, 25, 13 and 7
        pixels = photographs(side)
        model = draw(real, side)
        model.set_weights(ours.get_weights())
        odd = keras.applications.EfficientNetB0(
            include_top=False, weights=None, input_shape=(side, side, 3)
        )
        odd.set_weights(stock.get_weights())
        found = model.predict(normalise(pixels), verbose=0)
        alike = cosines(found, stock_features(odd, pixels))
        assert alike.min() > 0.9999, alike

    def test_with_the_input_layers_of_the_download(
        self, ours: Any, stock: Any, small: Any, downloaded: list[np.ndarray], downloads: Any
    ) -> None:
        """The stock model has one more input layer for "imagenet" than for a path."""
        downloads(lambda *_, **__: str(B0_WEIGHTS))
        imagenet = keras.applications.EfficientNetB0(include_top=False, input_shape=(64, 64, 3))
        assert len(imagenet.layers) == len(stock.layers) + 1
        small.set_weights(downloaded)
        pixels = photographs(64)
        found = small.predict(normalise(pixels), verbose=0)
        alike = cosines(found, stock_features(imagenet, pixels))
        assert alike.min() > 0.9999, alike
        # and that layer changes what is computed
        small.set_weights(ours.get_weights())
        assert cosines(found, small.predict(normalise(pixels), verbose=0)).min() < 0.999

    def test_the_download_given_by_path_has_those_input_layers_too(
        self, real: Backbone, small: Any, downloaded: list[np.ndarray]
    ) -> None:
        small.set_weights([np.zeros_like(value) for value in downloaded])
        md5 = hashlib.md5(B0_WEIGHTS.read_bytes()).hexdigest()  # as if Keras had this one
        download = dataclasses.replace(real.pretrained.download, md5=md5)
        source = dataclasses.replace(real.pretrained, download=download)
        load_stock_weights(small, dataclasses.replace(real, pretrained=source), str(B0_WEIGHTS))
        for ours, theirs in zip(small.get_weights(), downloaded, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)

    def test_every_layer_is_named_as_in_the_stock_model(self, ours: Any, stock: Any) -> None:
        names = {layer.name for layer in ours.layers if layer.weights}
        assert names - {layer.name for layer in stock.layers} == {"stem_pad"}
        theirs = {layer.name for layer in stock.layers if layer.weights}
        assert {name for name in theirs - names if "normalization" not in name} == set()

    def test_weights_of_another_network_are_refused(self, real: Backbone, ours: Any) -> None:
        before = ours.get_weights()
        with pytest.raises(WeightsError, match="does not hold efficientnetb0 weights"):
            load_stock_weights(ours, real, str(LITE0_WEIGHTS))
        for was, now in zip(before, ours.get_weights(), strict=True):
            assert np.array_equal(was, now)

    def test_groups_cover_the_network_in_order(self, real: Backbone, ours: Any) -> None:
        named = groups_of_layers(real, ours)
        assert named == sorted(named)
        assert set(named) == set(range(len(real.groups)))


def test_the_download_is_the_one_of_keras(real: Backbone) -> None:
    module = sys.modules[keras.applications.EfficientNetB0.__module__]
    assert isinstance(real.pretrained, StockModel)
    assert real.pretrained.download is not None
    assert real.pretrained.download.md5 == module.WEIGHTS_HASHES["b0"][1]
    assert real.pretrained.download.md5_top == module.WEIGHTS_HASHES["b0"][0]
    gain = np.asarray(module.IMAGENET_STDDEV_RGB) ** -0.5
    np.testing.assert_allclose(real.pretrained.download.gain, gain)


class TestTiny:
    """The twin that the other tests stand on is as faithful."""

    @pytest.mark.parametrize("size", [32, 33, 48])
    def test_features(self, tiny_weights: Path, size: int) -> None:
        backbone = BACKBONES[tiny_backbone.NAME]
        model = draw(backbone, size)
        load_stock_weights(model, backbone, str(tiny_weights))
        shape = (size, size, 3)
        stock = tiny_backbone.stock(include_top=False, weights=str(tiny_weights), input_shape=shape)
        pixels = np.random.default_rng(0).integers(0, 256, (4, *shape), np.uint8)
        found = model.predict(normalise(pixels), verbose=0)
        expected = stock.predict(pixels.astype(np.float32), verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


class TestRefused:
    @pytest.fixture
    def load(self, tiny_weights: Path) -> Any:
        backbone = BACKBONES[tiny_backbone.NAME]
        model = draw(backbone, 32)
        return lambda weights: load_stock_weights(model, backbone, str(weights))

    def test_a_file_that_is_not_there(self, load: Any, tmp_path: Path) -> None:
        path = tmp_path / "no such.h5"
        with pytest.raises(WeightsError, match=r"cannot read the weights .*no such\.h5.*--weights"):
            load(path)

    def test_a_folder(self, load: Any, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="a folder, not a file"):
            load(tmp_path)

    def test_a_file_of_another_kind(self, load: Any, tmp_path: Path) -> None:
        (tmp_path / "weights.h5").write_text("<html>404</html>")
        with pytest.raises(WeightsError, match="is not an HDF5 weights file"):
            load(tmp_path / "weights.h5")

    def test_a_truncated_file(self, load: Any, tiny_weights: Path, tmp_path: Path) -> None:
        path = tmp_path / "weights.h5"
        path.write_bytes(tiny_weights.read_bytes()[:3000])
        with pytest.raises(WeightsError, match="does not hold tiny weights"):
            load(path)

    def test_a_pipe(self, load: Any, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "weights.h5")
        with pytest.raises(WeightsError, match="a pipe, socket or device"):
            load(tmp_path / "weights.h5")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_numbers_that_are_none_are_refused_before_anything_is_kept(
        self, tiny_weights: Path, small_photographs: Path, tmp_path: Path, value: float
    ) -> None:
        path = tmp_path / "weights.h5"
        shutil.copy(tiny_weights, path)
        with h5py.File(path, "r+") as file:
            names: list[str] = []
            file.visititems(
                lambda name, one: names.append(name) if isinstance(one, h5py.Dataset) else None
            )
            file[names[-1]][...] = value
        with pytest.raises(WeightsError, match=r"weights.h5 does not hold tiny .* not finite"):
            check_pretrained(tiny_backbone.NAME, str(path))
        words = ["train", small_photographs, "--backbone", tiny_backbone.NAME, "--out", "out"]
        process = lmedge(*words, "--weights", path, cwd=tmp_path)
        assert_refused(process, 9, "weights.h5", "not finite")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("kind", ["soft", "external", "storage", "deep", "large"])
    def test_what_keras_would_follow(self, tiny_weights: Path, tmp_path: Path, kind: str) -> None:
        """Its own reader of a stock file opens other files, and reads what is never ended."""
        path = tmp_path / "weights.h5"
        shutil.copy(tiny_weights, path)
        os.mkfifo(tmp_path / "pipe")
        outside = [(str(tmp_path / "pipe"), 0, h5py.h5f.UNLIMITED)]
        with h5py.File(path, "r+") as file:
            if kind == "soft":
                file["extra"] = h5py.SoftLink("/x")
            elif kind == "external":
                file["extra"] = h5py.ExternalLink("pipe", "/x")
            elif kind == "storage":
                file.create_dataset("extra", (3,), np.float32, external=outside)
            elif kind == "deep":
                file.create_group("a/" * 50)
            else:
                file.create_dataset("extra", (1 << 40,), np.float64, chunks=(1 << 10,))
        told = {"deep": "larger", "large": "larger", "storage": "in another file"}
        with pytest.raises(WeightsError, match=told.get(kind, "is a link")):
            check_pretrained(tiny_backbone.NAME, str(path))

    def test_an_empty_hdf5_file(self, load: Any, tmp_path: Path) -> None:
        path = tmp_path / "weights.h5"
        h5py.File(path, "w").close()
        with pytest.raises(WeightsError, match="does not hold tiny weights"):
            load(path)

    def test_hdf5_of_something_else(self, load: Any, tmp_path: Path) -> None:
        path = tmp_path / "weights.h5"
        with h5py.File(path, "w") as file:
            file["temperatures"] = np.arange(3)
            file.attrs["layer_names"] = [b"dense"]
            file.create_group("dense")
        with pytest.raises(WeightsError, match="does not hold tiny weights"):
            load(path)

    def test_no_network_connection(self, downloads: Any) -> None:
        def fail(*_: object, **__: object) -> str:
            raise Exception("URL fetch failure on https://storage.googleapis.com: None -- offline")

        downloads(fail)
        backbone = BACKBONES["efficientnetb0"]
        with pytest.raises(WeightsError, match=r"cannot be downloaded here.*--weights PATH"):
            load_stock_weights(None, backbone, "imagenet")
