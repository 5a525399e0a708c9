"""Strategies: which layers a phase may change, and that the first head stays what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmedge.errors import RecipeError
from lmedge.train.backbones import BACKBONES, load_stock_weights
from lmedge.train.backend import keras
from lmedge.train.network import build_network, predict_logits
from lmedge.train.run import get_weights
from lmedge.train.steps import Job
from lmedge.train.strategies import STRATEGIES
from tests import small_run, tiny_backbone

Weights = dict[str, np.ndarray]
STATISTICS = ("/2", "/3")  # moving mean and variance of a batch norm, behind gamma and beta


@pytest.fixture
def make_job(
    tiny_weights: Path, small_photographs: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Any:
    def make(*settings: str, pretrained: bool = True) -> Job:
        weights = tiny_weights if pretrained else "none"
        run = small_run.start(small_photographs, tmp_path / "run", weights, settings)
        keras.utils.set_random_seed(run.seed)
        network = build_network(run.spec)
        if pretrained:
            load_stock_weights(network, BACKBONES[tiny_backbone.NAME], str(tiny_weights))
        return Job(run, network, pretrained)

    return make


def changed(before: Weights, after: Weights) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not np.array_equal(before[name], after[name])}


def layers(names: set[str]) -> set[str]:
    return {name.split("/")[0] for name in names}


def norms(network: Any) -> set[str]:
    kind = keras.layers.BatchNormalization
    return {layer.name for layer in network.layers if isinstance(layer, kind)}


def test_the_landmark_head_stays_exactly_what_it_was(make_job: Any) -> None:
    """Through the layers both heads share, too."""
    job = make_job("network.head_layers=[12]", "head.epochs=3", "fine_tune.epochs=1")
    job.fit_head("landmark", shared=True)
    job.fine_tune("landmark")
    pictures = job.run.pictures("val")
    logits, weights = predict_logits(job.network, pictures), get_weights(job.network)
    job.fit_head("category", shared=False)
    after = predict_logits(job.network, pictures)
    assert layers(changed(weights, get_weights(job.network))) == {"category"}
    assert after["landmark"].tobytes() == logits["landmark"].tobytes()
    assert not np.array_equal(after["category"], logits["category"])


def test_the_head_phase_leaves_the_trunk(make_job: Any) -> None:
    job = make_job("network.head_layers=[12]", "head.epochs=2")
    before = get_weights(job.network)
    job.fit_head("landmark", shared=True)
    assert layers(changed(before, get_weights(job.network))) == {"landmark", "head_1"}


def test_frozen_batch_norm_and_lower_groups_stay(make_job: Any) -> None:
    """After the head phase as well, which draws models of its own over the same layers."""
    job = make_job("fine_tune.start=block2", "fine_tune.epochs=2", "head.epochs=1")
    names = [layer.name for layer in job.network.layers]
    job.fit_head("landmark", shared=True)
    assert [layer.name for layer in job.network.layers] == names
    before = get_weights(job.network)
    job.fine_tune("landmark")
    found = layers(changed(before, get_weights(job.network)))
    assert not found & norms(job.network)
    assert not {name for name in found if name.startswith(("stem", "block1"))}
    assert {"landmark", "top_conv", "block2a_dwconv", "block2a_se_reduce"} <= found
    assert "category" not in found


def test_trained_batch_norm_learns_above_the_start_only(make_job: Any) -> None:
    job = make_job("fine_tune.start=block2", "fine_tune.epochs=1", "fine_tune.batch_norm=train")
    before = get_weights(job.network)
    job.fine_tune("landmark")
    names = changed(before, get_weights(job.network))
    upper = {name for name in norms(job.network) if name.startswith(("block2", "top"))}
    assert {f"{name}{part}" for name in upper for part in STATISTICS} <= names
    assert not {name for name in names if name.startswith(("stem", "block1"))}


def test_without_weights_everything_is_trained(make_job: Any) -> None:
    """Whatever the recipe says of the start and of batch norm: random weights mean nothing."""
    job = make_job("fine_tune.start=top", "fine_tune.epochs=1", pretrained=False)
    before = get_weights(job.network)
    job.fine_tune("landmark")
    names = changed(before, get_weights(job.network))
    assert {f"{name}{part}" for name in norms(job.network) for part in STATISTICS} <= names
    weighted = {layer.name for layer in job.network.layers if layer.trainable_weights}
    assert layers(names) == weighted - {"category", "stem_pad"}


def test_an_unknown_group_is_refused(make_job: Any) -> None:
    with pytest.raises(RecipeError, match=r"fine_tune\.start: 'block9' is not a group of tiny"):
        make_job("fine_tune.start=block9").fine_tune("landmark")


class _Recorder:
    def __init__(self, pretrained: bool) -> None:
        self.pretrained = pretrained
        self.steps: list[tuple[Any, ...]] = []

    def fit_head(self, head: str, *, shared: bool) -> None:
        self.steps.append(("head", head, shared))

    def fine_tune(self, head: str) -> None:
        self.steps.append(("fine-tuning", head))


class TestOrder:
    def steps(self, pretrained: bool) -> list[tuple[Any, ...]]:
        job: Any = _Recorder(pretrained)
        STRATEGIES["landmarks-first"](job)
        return job.steps

    def test_landmarks_first(self) -> None:
        assert self.steps(pretrained=True) == [
            ("head", "landmark", True),
            ("fine-tuning", "landmark"),
            ("head", "category", False),
        ]

    def test_no_frozen_phase_on_random_weights(self) -> None:
        assert self.steps(pretrained=False)[0] == ("fine-tuning", "landmark")


def test_features_are_those_of_the_prepared_pictures(make_job: Any) -> None:
    """Cached features go in where the network itself would have computed them."""
    job = make_job()
    pictures = job.run.pictures("val")
    logits = predict_logits(job.network, pictures)["landmark"]
    dense = job.network.get_layer("landmark")
    again = job.features(pictures) @ dense.get_weights()[0] + dense.get_weights()[1]
    np.testing.assert_allclose(again, logits, rtol=1e-4, atol=1e-5)
