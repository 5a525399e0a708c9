"""The study of variants: views, targets and networks are what their rows say they are."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.studies import fitted_shares, variants
from benchmarks.studies.view_changes import OPERATIONS, rand_view, trivial_view
from lmedge.train.recipes import load_recipe
from tests import small_run


@pytest.fixture
def image() -> np.ndarray:
    rows, columns = np.mgrid[0:48, 0:48]
    return np.stack([rows * 5, columns * 5, 120 + 0 * rows], axis=2).astype(np.uint8)


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_strength_changes_nothing_that_has_a_strength(name: str, image: np.ndarray) -> None:
    changed = OPERATIONS[name](image, 0.0)
    assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
    if name not in ("stretch", "equalize"):
        np.testing.assert_array_equal(changed, image)
    if name not in ("identity", "stretch", "equalize"):
        assert (OPERATIONS[name](image, 1.0) != image).any()


def test_half_of_a_shift_is_half_as_far(image: np.ndarray) -> None:
    far = OPERATIONS["translate x"](image, 1.0)  # 0.15 of 48 pixels
    np.testing.assert_allclose(far[24, 20, 1], image[24, 20, 1] - 36, atol=2)


@pytest.mark.parametrize("view", [trivial_view, rand_view])
def test_views_follow_from_their_generator_alone(view: variants.View, image: np.ndarray) -> None:
    settings = load_recipe("default").augment
    one, again, other = (view(image, 32, settings, np.random.default_rng(n)) for n in (1, 1, 2))
    assert one.shape == (32, 32, 3)
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_the_margin_is_that_of_the_true_landmark() -> None:
    cosines, targets = np.array([[0.5, 0.3]], np.float32), np.array([[1, 0]], np.float32)
    logits = 16 * np.array([0.3, 0.3])
    expected = -logits[0] + np.log(np.exp(logits).sum())
    np.testing.assert_allclose(variants.margin_loss(targets, cosines), [expected], rtol=1e-5)


def test_the_nearer_centre_counts() -> None:
    centres = np.array([[[1, 0], [0, 1]], [[-1, 0], [-1, 0]]], np.float32)
    head = variants.CosineHead(centres)
    np.testing.assert_allclose(head(np.array([[0, 3], [2, 0]], np.float32)), [[1, 0], [1, -1]])


def test_the_root_of_the_mean_square_is_of_each_channel() -> None:
    maps = np.array([[[[3, 1], [4, 1]], [[0, 1], [5, 1]]]], np.float32)  # (1, 2, 2, 2)
    np.testing.assert_allclose(variants.RootMeanSquare()(maps), [[12.5**0.5, 1]], rtol=1e-5)


def test_equal_weights_are_not_changed_by_their_mean() -> None:
    same = np.array([0.1, 1 / 3], np.float32)
    mean = variants.mean_weights([{"a": same, "b": same}, {"a": same, "b": 3 * same}])
    assert np.array_equal(mean["a"], same)
    np.testing.assert_allclose(mean["b"], 2 * same, rtol=1e-6)


@pytest.mark.parametrize(("counts", "p"), [((0, 0), 1.0), ((5, 0), 0.0625), ((3, 3), 1.0)])
def test_the_test_of_mcnemar(counts: tuple[int, int], p: float) -> None:
    assert variants.mcnemar(*counts) == p


@pytest.mark.slow
def test_every_variant_is_trained_once(
    small_photographs: Path,
    tiny_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = fitted_shares.settings_of

    def small(**given: object) -> object:
        return whole(**{**given, "changes": [*small_run.SETTINGS, *given["changes"]]})

    monkeypatch.setattr(fitted_shares, "settings_of", small)
    monkeypatch.setattr(fitted_shares, "FOLDS", 2)
    words = [str(small_photographs), "--weights", str(tiny_weights)]
    words += ["--runs", str(tmp_path / "runs"), "--out"]
    tables = []
    for name in ("one.csv", "two.csv"):
        done = CliRunner().invoke(
            variants.main, [*words, str(tmp_path / name)], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        lines = (tmp_path / name).read_text("utf-8").splitlines()
        tables.append([line for line in lines if not line.startswith("#")])
        monkeypatch.setattr(variants, "_fit", None)  # would fail if it trained
    assert tables[0] == tables[1]
    found = {(row["variant"], row["closed"]): row for row in csv.DictReader(tables[0])}
    assert {name for name, _ in found} == {*variants.VARIANTS, variants.AVERAGED, variants.TOGETHER}
    assert ("cosine margin", "0.5") not in found
    default = found["default", "1"]
    assert (default["mended"], default["broken"], default["p"]) == ("0", "0", "1")
    losses = {row["log_loss"] for key, row in found.items() if key[1] == "1"}
    assert len(losses) == len(variants.VARIANTS) + 2  # no two are the same network
