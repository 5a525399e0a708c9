"""The steps that strategies are made of: heads on frozen features, and fine-tuning."""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Mapping

import numpy as np

from lmedge.model_file import HEADS

from ..arrays import Floats
from ..backbones import BACKBONES
from ..backend import keras
from ..network import FEATURES, head_network
from ..recipes.sections import HeadSettings
from ..run import Run
from .batches import (
    AugmentedBatches,
    DistilBatches,
    FeatureBatches,
    FeatureInputs,
    ImageBatches,
    Labels,
    PreparedInputs,
    balanced,
    soft_targets,
)
from .checkpoint import restore_finished, start_network
from .discriminant import discriminant
from .features import FrozenBackbone, TrainingCopies, prepared_key
from .phase import Epoch, Fitting, Inputs, fit, record_solved, training_quality
from .replicas import predicted
from .strategies import STRATEGIES

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """A step of the training of a run.

    Attributes:
        name: the name of its rows in history.csv, and of its files.
        heads: the outputs that it trains by their labels.
        fit: fits the network, or restores what an earlier call left.
        blends: true if the backbone is fitted and its weights are blended afterwards.
    """

    name: str
    heads: tuple[str, ...]
    fit: Callable[[], None]
    blends: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trainer:
    """The network of a run while it is trained.

    Attributes:
        run: the run folder, with the recipe and the strategy.
        network: the whole network.
        pretrained: true if the backbone holds pretrained weights.
        xla: true if the steps are compiled.
        whole: the run whose fold this one is, or None. Both share the pretrained features.
        shares: the share of fine-tuned weights that is kept, by phase; others as in the recipe. A
            fold's is written by the caller, who chooses it by the answers of all folds.
    """

    run: Run
    network: keras.Model
    pretrained: bool
    xla: bool = False
    whole: Run | None = None
    shares: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def train(self) -> None:
        """Train the heads in the order of the run's strategy."""
        for phase in self.phases():
            phase.fit()

    def phases(self) -> list[Phase]:
        """Return the phases of the run's strategy, in their order."""
        strategy, found = STRATEGIES[self.run.strategy], []
        first, second = strategy.first, strategy.second
        if self.pretrained:
            fit = functools.partial(self.fit_heads, *first)
            found.append(Phase(name=_head_phase(first), heads=first, fit=fit))
        found += self._fine_tuning(first, None)
        if second is not None:
            fit = functools.partial(self.fit_second_head, second)
            found.append(Phase(name=_head_phase((second,)), heads=(second,), fit=fit))
            if self.run.recipe.strategy.phase2 == "distil":
                (held,) = first
                found += self._fine_tuning((second,), held)
        return found

    def fit_heads(self, *heads: str) -> None:
        """Fit outputs and the layers below that they share, on the frozen backbone."""
        self._fit_heads(heads, first=True)

    def fit_second_head(self, head: str) -> None:
        """Fit one output alone: the layers that the first one depends on do not change."""
        self._fit_heads((head,), first=False)

    def fine_tune(self, *heads: str, held: str | None = None) -> None:
        """Fit outputs and the backbone from the recipe's groups upwards, on augmented images.

        Several groups in the recipe are as many phases, one after another.

        Args:
            heads: the outputs that learn from the labels.
            held: an output that is kept by distillation. Its targets are the probabilities that
                it predicted when the phase began.
        """
        for phase in self._fine_tuning(heads, held):
            phase.fit()

    def _fine_tuning(self, heads: tuple[str, ...], held: str | None) -> list[Phase]:
        """Return the phases of `fine_tune`."""
        settings = self.run.recipe.fine_tune
        rounds = list(zip(settings.start, settings.epochs, strict=True))
        common = f"{'-and-'.join(heads)}-fine-tuning" + ("-distilled" if held else "")
        found = []
        for number, (start, epochs) in enumerate(rounds, start=1):
            name = common if len(rounds) == 1 else f"{common}-{number}"
            fit = functools.partial(self._fine_tune, name, heads, held, start, epochs)
            blends = epochs > 0 and self._blend(name) < 1
            found.append(Phase(name=name, heads=heads, fit=fit, blends=blends))
        return found

    def _blend(self, phase: str) -> float:
        """Return the share of fine-tuned weights that a phase begins to be judged with."""
        settings = self.run.recipe.fine_tune
        return self.shares.get(phase, settings.blend) if self.pretrained else 1.0

    def _fit_heads(self, heads: tuple[str, ...], *, first: bool) -> None:
        run, recipe, phase = self.run, self.run.recipe, _head_phase(heads)
        settings = recipe.head if first else recipe.second_head
        closed_form = settings.optimizer == "discriminant"
        epochs = 1 if closed_form else settings.epochs
        if epochs == 0:
            return
        if restore_finished(run, phase, self.network, epochs):
            self._log_done(phase)
            return
        for layer in self.network.layers:
            between = layer.name.startswith("head_")
            layer.trainable = layer.name in heads or (first and between)
        copies = TrainingCopies(run, settings.views)
        labels = self._labels(heads, settings.label_smoothing)
        features = None
        if closed_form or settings.cached:
            backbone = FrozenBackbone(self.network)
            features = self._features(backbone, copies, shared=first)
            validation = self._validation_features(backbone)
            model, batches = self._on_features(
                heads, settings, features, labels.tiled(copies.count)
            )
        else:
            validation = PreparedInputs(run.store, run.entries("val"))
            model, batches = self._on_images(heads, settings, copies, labels.tiled(copies.count))
        truth = run.labels("val")
        fitting = Fitting(
            phase=phase,
            model=model,
            network=self.network,
            batches=batches,
            validation=(validation, {head: truth[head] for head in heads}),
            epochs=epochs,
            settings=settings,
            loss_weights=self._loss_weights(heads),
            xla=self.xla,
        )
        if closed_form and features is not None:
            self._solve(fitting, settings, features, labels.importance, copies.count)
        else:
            fit(run, fitting)

    def _features(
        self, backbone: FrozenBackbone, copies: TrainingCopies, *, shared: bool
    ) -> Floats:
        """Return the features of the training copies, (copies * N, F).

        Before anything is fitted the backbone is that of the whole run, whose features are
        computed once for all folds.
        """
        if self.whole is None or not (shared and self.pretrained):
            return backbone.features(copies, len(copies), copies.key)
        every = TrainingCopies(self.whole, copies.views)
        found = backbone.features(every, len(every), every.key)
        places = {entry: place for place, entry in enumerate(self.whole.entries("train"))}
        rows = [places[entry] for entry in self.run.entries("train")]
        each = found.reshape(copies.count, len(places), -1)
        return np.concatenate([one[rows] for one in each])

    def _validation_features(self, backbone: FrozenBackbone) -> Inputs:
        run, entries = self.run, self.run.entries("val")
        return FeatureInputs(
            backbone.features(
                lambda index: run.store.prepared(entries[index]),
                len(entries),
                prepared_key(run.recipe, entries),
            )
        )

    def _on_features(
        self, heads: tuple[str, ...], settings: HeadSettings, features: Floats, labels: Labels
    ) -> tuple[keras.Model, Epoch]:
        """Return the layers above the features, and the batches of cached features."""
        batch, seed = settings.batch, self.run.seed
        return head_network(self.network, heads), lambda epoch: FeatureBatches(
            features, labels, batch=batch, seed=seed, epoch=epoch
        )

    def _on_images(
        self, heads: tuple[str, ...], settings: HeadSettings, copies: TrainingCopies, labels: Labels
    ) -> tuple[keras.Model, Epoch]:
        """Return the network with these heads, and the batches of images for it."""
        batch, seed = settings.batch, self.run.seed
        return self._model(heads), lambda epoch: ImageBatches(
            copies, labels, batch=batch, seed=seed, epoch=epoch
        )

    def _solve(
        self,
        fitting: Fitting,
        settings: HeadSettings,
        features: Floats,
        importance: Floats | None,
        copies: int,
    ) -> None:
        """Put the closed-form solution into the outputs, in the order in which they depend.

        Args:
            fitting: the phase.
            settings: shrinkage and smoothing.
            features: (copies * N, F) of the training copies, one set of N images after another.
            importance: the weight of each image, (N,), or None.
            copies: the number of sets.
        """
        began = time.monotonic()
        truth, feature = self.run.labels("train"), self.run.spec.feature
        for head in sorted(fitting.loss_weights, key=lambda name: name != feature):
            layer = self.network.get_layer(head)
            kernel, bias = discriminant(
                self._below(layer, features),
                np.tile(truth[head], copies),
                None if importance is None else np.tile(importance, copies),
                layer.units,
                shrinkage=settings.shrinkage,
                smoothing=settings.label_smoothing,
            )
            layer.set_weights([kernel, bias])
        loss, accuracy = training_quality(fitting)
        seconds = time.monotonic() - began
        record_solved(self.run, fitting, loss=loss, accuracy=accuracy, seconds=seconds)

    def _below(self, layer: keras.layers.Layer, features: Floats) -> Floats:
        """Return what an output layer reads, computed from these features."""
        backbone = self.network.get_layer(FEATURES).output
        if layer.input is backbone:
            return features
        model = keras.Model(backbone, layer.input)
        return np.asarray(predicted(model, features, 1024), np.float32)

    def _fine_tune(
        self, phase: str, heads: tuple[str, ...], held: str | None, start: str, epochs: int
    ) -> None:
        run, settings = self.run, self.run.recipe.fine_tune
        blend = self._blend(phase)
        if epochs == 0:
            return
        if restore_finished(run, phase, self.network, epochs, blend < 1):
            self._log_done(phase)
            return
        trained = (*heads, held) if held else heads
        self._free(trained, start, settings.batch_norm)
        batches, weights = self._augmented(heads), self._loss_weights(heads)
        if held:
            batches = self._distilled(batches, phase, held)
            weights[held] = run.recipe.strategy.distil_weight
        truth = run.labels("val")
        fitting = Fitting(
            phase=phase,
            model=self._model(trained),
            network=self.network,
            batches=batches,
            validation=(
                PreparedInputs(run.store, run.entries("val")),
                {head: truth[head] for head in heads},
            ),
            epochs=epochs,
            settings=settings,
            loss_weights=weights,
            blend=blend,
            spread=0.0 if phase in self.shares else settings.blend_spread,
            choose=self.whole is None,
            warm_up=self.pretrained,
            xla=self.xla,
        )
        fit(run, fitting)

    def _log_done(self, phase: str) -> None:
        """Log that a phase was restored; a fold comes back to each phase before every later one."""
        logger.log(logging.INFO if self.whole is None else logging.DEBUG, "%s was done", phase)

    def _augmented(self, heads: tuple[str, ...]) -> Epoch:
        """Return the batches of random views of the training images."""
        run, settings = self.run, self.run.recipe.fine_tune
        labels = self._labels(heads, settings.label_smoothing)
        return lambda epoch: AugmentedBatches(
            run.store,
            run.entries("train"),
            labels,
            run.recipe.augment,
            batch=settings.batch,
            seed=run.seed,
            epoch=epoch,
        )

    def _distilled(self, batches: Epoch, phase: str, held: str) -> Epoch:
        """Return the batches with the held head's targets, from the network as it is now."""
        teacher = start_network(self.run, phase, self.network)
        return lambda epoch: DistilBatches(batches(epoch), teacher, held)

    def _free(self, heads: tuple[str, ...], start: str, batch_norm: str) -> None:
        """Make the layers from group `start` upwards trainable, and no others."""
        groups = BACKBONES[self.run.recipe.network.backbone].groups
        lower = tuple(groups[: groups.index(start)])
        statistics = batch_norm == "train" or not self.pretrained
        for layer in self.network.layers:
            frozen = self.pretrained and bool(lower) and layer.name.startswith(lower)
            normalises = isinstance(layer, keras.layers.BatchNormalization)
            other_head = layer.name in HEADS and layer.name not in heads
            layer.trainable = not (frozen or other_head or (normalises and not statistics))
            if normalises and not self.pretrained:
                # Keras' 0.99 takes some 500 steps to forget the random start; a small training
                # from scratch is hardly longer than that.
                layer.momentum = 0.9

    def _model(self, heads: tuple[str, ...]) -> keras.Model:
        outputs = {head: self.network.get_layer(head).output for head in heads}
        return keras.Model(self.network.input, outputs)

    def _labels(self, heads: tuple[str, ...], smoothing: float) -> Labels:
        """Return the targets of the training part, weighted by the recipe's balance."""
        truth = self.run.labels("train")
        targets = {
            head: soft_targets(truth[head], self.network.get_layer(head).units, smoothing)
            for head in heads
        }
        balance = self.run.recipe.data.balance
        if balance == "none":
            return Labels(targets)
        landmarks = self.network.get_layer("landmark").units
        weights = balanced(truth["landmark"], landmarks)
        return (
            Labels(targets, weights=weights)
            if balance == "weights"
            else Labels(targets, chances=weights)
        )

    def _loss_weights(self, heads: tuple[str, ...]) -> dict[str, float]:
        if len(heads) == 1:
            return {heads[0]: 1.0}
        strategy = self.run.recipe.strategy
        weights = {"landmark": strategy.landmark_weight, "category": strategy.category_weight}
        return {head: weights[head] for head in heads}


def _head_phase(heads: tuple[str, ...]) -> str:
    return f"{'-and-'.join(heads)}-head"
