"""Mistakes, activation maps and curves as images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lmedge.report.fonts import Fonts
from lmedge.report.palette import BLUE, GREEN, ORANGE
from lmedge.train.arrays import normalise
from lmedge.train.backend import keras, tf
from lmedge.train.history import HistoryRow
from lmedge.train.network import build_network
from lmedge.train.reports.cam import activation_maps, chosen, overlay, plot_activation_maps
from lmedge.train.reports.curves import plot_curves
from lmedge.train.reports.tiles import percent, plot_mistakes
from lmedge.train.run import NetworkSpec
from tests import tiny_backbone
from tests.train.reports import fakes


class TestMistakes:
    def test_the_most_confident_comes_first(self, tmp_path: Path) -> None:
        found, _ = fakes.predictions(tmp_path, [0, 1, 2, 3], [1, 1, 0, 0], [0.5, 0.9, 0.8, 0.8])
        assert found.mistakes() == [2, 3, 0]

    @pytest.mark.parametrize("said", [[0, 1, 2, 3], [1, 1, 0, 0]], ids=["none", "three"])
    def test_they_are_drawn(self, tmp_path: Path, said: list[int]) -> None:
        found, store = fakes.predictions(tmp_path, [0, 1, 2, 3], said, [0.5, 0.9, 0.8, 0.8])
        plot_mistakes(found, store, "test part", tmp_path / "a.png", Fonts())
        pixels = fakes.image(tmp_path / "a.png")
        drawn = fakes.close_to(pixels, ORANGE) > 50 and fakes.close_to(pixels, BLUE) > 50
        assert drawn == (said[0] == 1)

    def test_a_probability_is_never_rounded_to_certainty(self) -> None:
        shown = [percent(share) for share in (1.0, 0.99951, 0.9994, 0.5, 0.0004)]
        assert shown == [">99.9 %", ">99.9 %", "99.9 %", "50.0 %", "<0.1 %"]


@pytest.mark.usefixtures("tiny")
class TestActivationMaps:
    IMAGES = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)
    CLASSES = np.array([2, 0, 3])

    @staticmethod
    def network(*head_layers: int, features: str = "widest") -> keras.Model:
        keras.utils.set_random_seed(0)
        spec = NetworkSpec(
            backbone=tiny_backbone.NAME,
            size=32,
            landmarks=4,
            categories=2,
            head_layers=head_layers,
            features=features,
        )
        return build_network(spec)

    @pytest.mark.parametrize(
        ("features", "layers"),
        [("last", ["top_activation"]), ("widest", ["block2a_activation", "top_activation"])],
    )
    def test_without_head_layers_they_are_the_exact_cam(
        self, features: str, layers: list[str]
    ) -> None:
        network = self.network(features=features)
        outputs = [network.get_layer(name).output for name in layers]
        maps = tf.concat(
            tf.nest.flatten(keras.Model(network.input, outputs)(normalise(self.IMAGES))), -1
        ).numpy()
        kernel, _ = network.get_layer("landmark").get_weights()
        assert len(kernel) == maps.shape[-1]
        expected = np.einsum("nhwk,kn->nhw", maps, kernel[:, self.CLASSES])
        found = activation_maps(network, self.IMAGES, self.CLASSES)
        assert expected.max() > 0
        places = maps.shape[1] * maps.shape[2]
        np.testing.assert_allclose(found * places, np.maximum(expected, 0), atol=1e-5)

    def test_with_head_layers_they_follow_the_gradient(self) -> None:
        network = self.network(8)
        found = activation_maps(network, self.IMAGES, self.CLASSES)
        other = activation_maps(network, self.IMAGES, (self.CLASSES + 1) % 4)
        assert found.shape == (3, 8, 8)
        assert found.min() >= 0
        assert np.abs(found - other).max() > 0

    def test_the_overlay_is_brightest_where_the_map_is(self) -> None:
        heat = np.zeros((4, 4), np.float32)
        heat[0, 3] = 2.0
        shown = overlay(np.full((32, 32, 3), 90, np.uint8), heat)
        assert shown.shape == (32, 32, 3)
        light = shown.sum(axis=-1, dtype=int)
        row, column = np.unravel_index(light.argmax(), light.shape)
        assert row < 8
        assert column >= 24
        assert overlay(shown, np.zeros((4, 4), np.float32)).dtype == np.uint8  # nothing spoke

    def test_mistakes_are_shown_first_and_right_ones_evenly(self, tmp_path: Path) -> None:
        truth = [0] * 10 + [1]
        found, store = fakes.predictions(tmp_path, truth, [0] * 11, [0.7] * 11)
        assert chosen(found, 4) == [10, 0, 4, 9]
        path = tmp_path / "a.png"
        plot_activation_maps(self.network(), found, store, "val", path, Fonts())
        assert fakes.image(path).std() > 5


def rows(phase: str, count: int, val: bool = True) -> list[HistoryRow]:
    return [
        HistoryRow(
            phase=phase,
            epoch=n,
            loss=2 / n,
            accuracy=1 - 1 / n,
            val_loss=1.5 / n if val else 0,
            val_accuracy=0.5 if val else 0,
            val_macro_f1=0.4 if val else 0,
            learning_rate=1e-3,
            seconds=1,
        )
        for n in range(1, count + 1)
    ]


class TestCurves:
    def test_phases_that_train_the_backbone_are_tinted(self, tmp_path: Path) -> None:
        history = [*rows("landmark-head", 9), *rows("landmark-fine-tuning", 4)]
        tinted = []
        for name, freed in (("plain", {}), ("marked", {"landmark-fine-tuning": "from block3"})):
            plot_curves(history, freed, tmp_path / f"{name}.png")
            tinted.append(fakes.close_to(fakes.image(tmp_path / f"{name}.png"), "#FFF4D6", 3))
        assert tinted[0] < 100
        assert tinted[1] > 50_000

    def test_without_a_validation_part_there_are_no_curves_of_it(self, tmp_path: Path) -> None:
        green = []
        for val in (True, False):
            plot_curves(rows("landmark-head", 5, val), {}, tmp_path / "a.png")
            green.append(fakes.close_to(fakes.image(tmp_path / "a.png"), GREEN))
        assert green[0] > 100
        assert green[1] == 0

    @pytest.mark.parametrize("loss", [0.0, float("nan"), float("inf")])
    def test_one_epoch_and_a_loss_that_is_no_number_are_drawn(
        self, tmp_path: Path, loss: float
    ) -> None:
        row = HistoryRow(
            phase="category-head",
            epoch=1,
            loss=loss,
            accuracy=0.5,
            val_loss=loss,
            val_accuracy=0.5,
            val_macro_f1=0.5,
            learning_rate=1e-3,
            seconds=1.0,
        )
        plot_curves([row], {}, tmp_path / "a.png")
        assert fakes.image(tmp_path / "a.png").std() > 1
