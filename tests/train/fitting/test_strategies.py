"""Strategies: which layers a phase may change, and that the first head stays what it was."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmedge.errors import RecipeError
from lmedge.train.arrays import read_arrays
from lmedge.train.backbones import BACKBONES, load_stock_weights
from lmedge.train.backend import keras
from lmedge.train.fitting.discriminant import discriminant
from lmedge.train.fitting.features import FrozenBackbone, TrainingCopies
from lmedge.train.fitting.steps import Trainer
from lmedge.train.fitting.strategies import STRATEGIES
from lmedge.train.network import build_network, get_weights, predict_logits
from tests import small_run, tiny_backbone

Weights = dict[str, np.ndarray]
STATISTICS = ("/2", "/3")  # moving mean and variance of a batch norm, behind gamma and beta


@pytest.fixture
def make_trainer(
    tiny_weights: Path, small_photographs: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Any:
    def make(
        *settings: str,
        pretrained: bool = True,
        strategy: str = "landmarks-first",
        out: str = "run",
    ) -> Trainer:
        weights = tiny_weights if pretrained else "none"
        run = small_run.start(
            small_photographs, tmp_path / out, weights, settings, strategy=strategy
        )
        keras.utils.set_random_seed(run.seed)
        network = build_network(run.spec)
        if pretrained:
            load_stock_weights(network, BACKBONES[tiny_backbone.NAME], str(tiny_weights))
        return Trainer(run=run, network=network, pretrained=pretrained)

    return make


def changed(before: Weights, after: Weights) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not np.array_equal(before[name], after[name])}


def layers(names: set[str]) -> set[str]:
    return {name.split("/")[0] for name in names}


def norms(network: Any) -> set[str]:
    kind = keras.layers.BatchNormalization
    return {layer.name for layer in network.layers if isinstance(layer, kind)}


def test_the_landmark_head_stays_exactly_what_it_was(make_trainer: Any) -> None:
    """Through the layers both heads share, too."""
    trainer = make_trainer("network.head_layers=[12]", "head.epochs=3", "fine_tune.epochs=1")
    trainer.fit_heads("landmark")
    trainer.fine_tune("landmark")
    images = trainer.run.images("val")
    logits, weights = predict_logits(trainer.network, images), get_weights(trainer.network)
    trainer.fit_second_head("category")
    after = predict_logits(trainer.network, images)
    assert layers(changed(weights, get_weights(trainer.network))) == {"category"}
    assert after["landmark"].tobytes() == logits["landmark"].tobytes()
    assert not np.array_equal(after["category"], logits["category"])


def test_the_head_phase_leaves_the_backbone(make_trainer: Any) -> None:
    trainer = make_trainer("network.head_layers=[12]", "head.epochs=2")
    before = get_weights(trainer.network)
    trainer.fit_heads("landmark")
    assert layers(changed(before, get_weights(trainer.network))) == {"landmark", "head_1"}


def test_frozen_batch_norm_and_lower_groups_stay(make_trainer: Any) -> None:
    """After the head phase as well, which draws models of its own over the same layers."""
    trainer = make_trainer("fine_tune.start=block2", "fine_tune.epochs=2", "head.epochs=1")
    names = [layer.name for layer in trainer.network.layers]
    trainer.fit_heads("landmark")
    assert [layer.name for layer in trainer.network.layers] == names
    before = get_weights(trainer.network)
    trainer.fine_tune("landmark")
    found = layers(changed(before, get_weights(trainer.network)))
    assert not found & norms(trainer.network)
    assert not {name for name in found if name.startswith(("stem", "block1"))}
    assert {"landmark", "top_conv", "block2a_dwconv", "block2a_se_reduce"} <= found
    assert "category" not in found


def test_trained_batch_norm_learns_above_the_start_only(make_trainer: Any) -> None:
    trainer = make_trainer(
        "fine_tune.start=block2", "fine_tune.epochs=1", "fine_tune.batch_norm=train"
    )
    before = get_weights(trainer.network)
    trainer.fine_tune("landmark")
    names = changed(before, get_weights(trainer.network))
    upper = {name for name in norms(trainer.network) if name.startswith(("block2", "top"))}
    assert {f"{name}{part}" for name in upper for part in STATISTICS} <= names
    assert not {name for name in names if name.startswith(("stem", "block1"))}


def test_without_weights_everything_is_trained(make_trainer: Any) -> None:
    """Whatever the recipe says of the start and of batch norm: random weights mean nothing."""
    trainer = make_trainer("fine_tune.start=top", "fine_tune.epochs=1", pretrained=False)
    before = get_weights(trainer.network)
    trainer.fine_tune("landmark")
    names = changed(before, get_weights(trainer.network))
    assert {f"{name}{part}" for name in norms(trainer.network) for part in STATISTICS} <= names
    weighted = {layer.name for layer in trainer.network.layers if layer.trainable_weights}
    assert layers(names) == weighted - {"category", "stem_pad"}


def test_an_unknown_group_is_refused(make_trainer: Any) -> None:
    with pytest.raises(RecipeError, match=r"fine_tune\.start: 'block9' is not a group of tiny"):
        make_trainer("fine_tune.start=block9").fine_tune("landmark")


class TestOrder:
    def order(self, make_trainer: Any, *settings: str, **more: Any) -> list[str]:
        return [phase.name for phase in make_trainer(*settings, **more).phases()]

    @pytest.mark.parametrize(
        ("name", "first", "second"),
        [
            ("landmarks-first", "landmark", "category"),
            ("categories-first", "category", "landmark"),
            ("landmarks-feature", "landmark", "category"),
            ("categories-feature", "category", "landmark"),
        ],
    )
    def test_one_after_the_other(
        self, make_trainer: Any, name: str, first: str, second: str
    ) -> None:
        fitted = [f"{first}-head", f"{first}-fine-tuning"]
        expected = [*fitted, f"{first}-refit", f"{second}-head"]
        assert self.order(make_trainer, strategy=name) == expected
        held = self.order(make_trainer, "strategy.phase2=distil", strategy=name, out="held")
        assert held == [*expected, f"{second}-fine-tuning-distilled", f"{second}-refit"]
        plain = self.order(make_trainer, "fine_tune.refit=0", strategy=name, out="plain")
        assert plain == [*fitted, f"{second}-head"]

    def test_both_at_once(self, make_trainer: Any) -> None:
        found = self.order(make_trainer, strategy="parallel")
        both = "landmark-and-category"
        assert found == [f"{both}-head", f"{both}-fine-tuning", f"{both}-refit"]

    def test_no_frozen_phase_first_on_random_weights(self, make_trainer: Any) -> None:
        found = self.order(make_trainer, pretrained=False)
        assert found == ["landmark-fine-tuning", "category-head"]


class TestEveryStrategy:
    """A real, small training each: both heads learn, and what was fitted first stays."""

    SETTINGS = ("network.head_layers=[12]", "network.dropout=0.1", "fine_tune.epochs=1")

    @pytest.mark.parametrize("name", list(STRATEGIES))
    def test_both_heads_learn(self, make_trainer: Any, name: str) -> None:
        trainer = make_trainer(*self.SETTINGS, strategy=name)
        trainer.train()
        logits = predict_logits(trainer.network, trainer.run.images("train"))
        for head, truth in trainer.run.labels("train").items():
            assert (logits[head].argmax(axis=1) == truth).mean() > 0.6, head

    @pytest.mark.parametrize(
        ("name", "first", "second"),
        [
            ("landmarks-feature", "landmark", "category"),
            ("categories-feature", "category", "landmark"),
        ],
    )
    def test_the_first_answer_is_a_feature_of_the_second(
        self, make_trainer: Any, name: str, first: str, second: str
    ) -> None:
        trainer = make_trainer(*self.SETTINGS, strategy=name)
        images = trainer.run.images("val")
        before = predict_logits(trainer.network, images)
        layer = trainer.network.get_layer(first)
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel, bias + np.arange(len(bias))])
        after = predict_logits(trainer.network, images)
        assert not np.allclose(before[second], after[second])
        units = trainer.network.get_layer(second).input.shape[-1]
        assert units == 12 + len(bias)

    def test_distilling_holds_the_first_head(self, make_trainer: Any) -> None:
        """Far better than fine-tuning that does not hold it, and the backbone does learn."""
        kept: dict[str, float] = {}
        for mode, weight in (("held", 5.0), ("loose", 0.0)):
            trainer = make_trainer(
                "strategy.phase2=distil",
                f"strategy.distil_weight={weight}",
                "fine_tune.epochs=4",
                "fine_tune.blend=1.0",
                out=mode,
            )
            trainer.fit_heads("landmark")
            trainer.fit_second_head("category")
            images = trainer.run.images("val")
            logits, weights = predict_logits(trainer.network, images), get_weights(trainer.network)
            trainer.fine_tune("category", held="landmark")
            after = predict_logits(trainer.network, images)
            assert "block2a_dwconv" in layers(changed(weights, get_weights(trainer.network)))
            kept[mode] = float(np.abs(after["landmark"] - logits["landmark"]).mean())
        assert kept["held"] < 0.5 * kept["loose"]

    def test_the_closed_form_needs_no_epochs(self, make_trainer: Any) -> None:
        closed = ("head.optimizer=discriminant", "second_head.optimizer=discriminant")
        trainer = make_trainer(*closed, "fine_tune.epochs=0")
        before = get_weights(trainer.network)
        trainer.train()
        assert layers(changed(before, get_weights(trainer.network))) == {"landmark", "category"}
        assert [row.epoch for row in trainer.run.history()] == [1, 1]
        logits = predict_logits(trainer.network, trainer.run.images("val"))
        for head, truth in trainer.run.labels("val").items():
            assert (logits[head].argmax(axis=1) == truth).mean() > 0.9, head

    def test_features_or_every_epoch_through_the_backbone(self, make_trainer: Any) -> None:
        """The same training, but for rounding: cached features are a matter of speed."""
        found = []
        for cached in ("true", "false"):
            trainer = make_trainer(f"head.cached={cached}", "head.epochs=4", out=cached)
            trainer.fit_heads("landmark")
            found.append(predict_logits(trainer.network, trainer.run.images("val"))["landmark"])
        np.testing.assert_allclose(found[0], found[1], rtol=0.02, atol=0.02)

    @pytest.mark.parametrize("optimizer", ["adam", "sgd", "adamw"])
    def test_every_optimizer_learns(self, make_trainer: Any, optimizer: str) -> None:
        trainer = make_trainer(
            f"head.optimizer={optimizer}",
            f"head.learning_rate={0.5 if optimizer == 'sgd' else 0.05}",
            "head.schedule=constant",
        )
        trainer.fit_heads("landmark")
        rows = trainer.run.history()
        assert rows[-1].accuracy > 0.8
        assert len({row.learning_rate for row in rows}) == 1

    def test_pixels_divided_by_255_first(
        self, make_trainer: Any, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As if the stock weights were given dark images; the border is what a byte can hold."""
        networks = []
        for normalisation in ("stock", "unit"):
            trainer = make_trainer(out=normalisation)
            backbone = BACKBONES[tiny_backbone.NAME]
            load_stock_weights(trainer.network, backbone, str(tiny_weights), normalisation)
            networks.append(
                keras.Model(trainer.network.input, trainer.network.get_layer("stem_bn").output)
            )
        images = trainer.run.images("val")[:4].astype(np.float32)
        stock, unit = networks
        expected = stock((images / 255 - 114) / 57).numpy()
        found = unit((images - 114) / 57).numpy()
        inner = (slice(None), slice(1, -1), slice(1, -1))
        np.testing.assert_allclose(found[inner], expected[inner], rtol=1e-3, atol=1e-3)

    def test_several_starts_are_several_phases(self, make_trainer: Any) -> None:
        trainer = make_trainer('fine_tune.start=["top", "block2"]', "fine_tune.epochs=[1, 2]")
        before = get_weights(trainer.network)
        trainer.fine_tune("landmark")
        phases = [(row.phase, row.epoch) for row in trainer.run.history()]
        name = "landmark-fine-tuning"
        assert phases == [(f"{name}-1", 1), (f"{name}-2", 1), (f"{name}-2", 2)]
        assert "block2a_dwconv" in layers(changed(before, get_weights(trainer.network)))


class TestRefit:
    """The landmark output after fine-tuning: the mean of what descent and the closed form give."""

    SETTINGS = ("fine_tune.epochs=1", "fine_tune.blend_spread=0", "fine_tune.blend=1.0")

    def trained(self, make_trainer: Any, *settings: str, phases: int = 3) -> Trainer:
        trainer = make_trainer(*self.SETTINGS, "head.epochs=1", "head.views=0", *settings)
        for phase in trainer.phases()[:phases]:
            phase.fit()
        return trainer

    def refitted(self, trainer: Trainer, share: float) -> Weights:
        """Return the weights with another share of the closed form."""
        path = trainer.run.folder / "checkpoints" / "landmark-refit-share.safetensors"
        path.unlink(missing_ok=True)
        shares = {"landmark-refit": share}
        own = Trainer(run=trainer.run, network=trainer.network, pretrained=True, shares=shares)
        own.phases()[2].fit()
        return get_weights(trainer.network)

    def test_it_is_a_mean_with_the_closed_form_on_fine_tuned_features(
        self, make_trainer: Any
    ) -> None:
        trainer = self.trained(make_trainer, phases=2)
        before, run = get_weights(trainer.network), trainer.run
        assert not changed(before, self.refitted(trainer, 0.0)), "left out"
        closed, found = self.refitted(trainer, 1.0), self.refitted(trainer, 0.25)
        assert layers(changed(before, closed)) == layers(changed(before, found)) == {"landmark"}
        features = FrozenBackbone(trainer.network).features(
            TrainingCopies(run, 0), 2 * len(run.entries("train")), "a key"
        )
        expected = discriminant(
            features,
            np.tile(run.labels("train")["landmark"], 2),
            None,
            4,
            shrinkage=run.recipe.head.shrinkage,
            smoothing=run.recipe.head.label_smoothing,
        )
        for name, value in zip(("landmark/0", "landmark/1"), expected, strict=True):
            np.testing.assert_allclose(closed[name], value, rtol=1e-3, atol=1e-4)
            mean = 0.75 * before[name] + 0.25 * closed[name]
            np.testing.assert_allclose(found[name], mean, rtol=1e-5, atol=1e-6)

    def test_the_validation_part_may_move_the_share(self, make_trainer: Any) -> None:
        trainer = self.trained(make_trainer, "fine_tune.refit=0.5", "fine_tune.blend_spread=1")
        path = trainer.run.folder / "checkpoints" / "landmark-refit-share.safetensors"
        (share,) = read_arrays(path)["share"]
        before = get_weights(trainer.network)
        again = Trainer(run=trainer.run, network=trainer.network, pretrained=True)
        again.phases()[2].fit()
        assert not changed(before, get_weights(again.network)), "restored"
        assert 0.1 <= share <= 1


def test_features_are_those_of_the_prepared_images(make_trainer: Any) -> None:
    """Cached features go in where the network itself would have computed them."""
    trainer = make_trainer()
    images = trainer.run.images("val")
    logits = predict_logits(trainer.network, images)["landmark"]
    dense = trainer.network.get_layer("landmark")
    entries = trainer.run.entries("val")
    features = FrozenBackbone(trainer.network).features(
        lambda index: trainer.run.store.prepared(entries[index]), len(entries), "a key"
    )
    again = features @ dense.get_weights()[0] + dense.get_weights()[1]
    np.testing.assert_allclose(again, logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["discriminant", "adam"])
def test_the_backbone_is_frozen_once_a_phase(
    make_trainer: Any, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are hashed once, though training and validation features need the hash."""
    hashed: list[int] = []
    digest = FrozenBackbone.digest.func

    def counting(self: FrozenBackbone) -> str:
        hashed.append(id(self))
        return str(digest(self))

    prop = functools.cached_property(counting)
    prop.__set_name__(FrozenBackbone, "digest")
    monkeypatch.setattr(FrozenBackbone, "digest", prop)
    trainer = make_trainer(f"head.optimizer={optimizer}", "head.epochs=2")
    trainer.fit_heads("landmark")
    assert len(hashed) == 1


def test_strategies_are_data() -> None:
    """Everything of a strategy can be shown and compared; nothing can be called."""
    for name, strategy in STRATEGIES.items():
        assert strategy.name == name
        assert {*strategy.first, *filter(None, [strategy.second])} == {"landmark", "category"}
        assert strategy.help
        assert not any(map(callable, dataclasses.astuple(strategy)))
