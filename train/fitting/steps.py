"""The steps that strategies are made of: heads on frozen features, and fine-tuning."""

from __future__ import annotations

import dataclasses
import logging
import time

import numpy as np

from lmedge.model_file import HEADS

from ..backbones import BACKBONES
from ..backend import keras
from ..network import FEATURES, head_network
from ..recipes.sections import Head
from ..run import Run
from .batches import (
    AugmentedBatches,
    FeatureBatches,
    FeatureInputs,
    Floats,
    ImageBatches,
    Labels,
    PreparedInputs,
    balanced,
    soft_targets,
)
from .discriminant import discriminant
from .distil import DistilBatches, teacher
from .features import TrainingCopies, Trunk, prepared_key
from .phase import Epoch, Fitting, Inputs, compile_for, fit, restore_finished, solved
from .replicas import feed, predicted

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Job:
    """A network being trained for a run. `pretrained` tells whether its trunk means anything."""

    run: Run
    network: keras.Model
    pretrained: bool
    xla: bool = False

    @property
    def distils(self) -> bool:
        """Whether the trunk goes on learning in phase 2."""
        return self.run.recipe.strategy.phase2 == "distil"

    def fit_heads(self, *heads: str) -> None:
        """Fit outputs and the layers below that they share, on the frozen trunk."""
        self._fit_heads(heads, self.run.recipe.head, shared=True)

    def fit_second_head(self, head: str) -> None:
        """Fit one output alone: what the earlier one stands on stays exactly what it was."""
        self._fit_heads((head,), self.run.recipe.second_head, shared=False)

    def _fit_heads(self, heads: tuple[str, ...], settings: Head, *, shared: bool) -> None:
        closed_form = settings.optimizer == "discriminant"
        run, phase = self.run, f"{'-and-'.join(heads)}-head"
        epochs = 1 if closed_form else settings.epochs
        if epochs == 0:
            return
        if restore_finished(run, phase, self.network, epochs):
            logger.info("%s was done", phase)
            return
        for layer in self.network.layers:
            between = layer.name.startswith("head_")
            layer.trainable = layer.name in heads or (shared and between)
        truth = run.labels("val")
        fitting = Fitting(
            phase=phase,
            model=self._model(heads)
            if self._plain(settings)
            else head_network(self.network, heads),
            network=self.network,
            batches=self._head_batches(heads, settings),
            validation=(self._head_validation(settings), {head: truth[head] for head in heads}),
            epochs=epochs,
            settings=settings,
            loss_weights=self._loss_weights(heads),
            xla=self.xla,
        )
        if closed_form:
            self._solve(fitting, heads, settings)
        else:
            fit(run, fitting)

    def _plain(self, settings: Head) -> bool:
        return not settings.cached and settings.optimizer != "discriminant"

    def _head_batches(self, heads: tuple[str, ...], settings: Head) -> Epoch:
        """Batches of the training copies: their features, or the images where none are cached."""
        run, copies = self.run, TrainingCopies(self.run, settings.views)
        labels = self._labels(heads, settings.label_smoothing).tiled(copies.count)
        if self._plain(settings):
            return lambda epoch: ImageBatches(
                copies, labels, batch=settings.batch, seed=run.seed, epoch=epoch
            )
        features = self._features_of(copies)
        return lambda epoch: FeatureBatches(
            features, labels, batch=settings.batch, seed=run.seed, epoch=epoch
        )

    def _head_validation(self, settings: Head) -> Inputs:
        run, entries = self.run, self.run.entries("val")
        if self._plain(settings):
            return PreparedInputs(run.store, entries)
        return FeatureInputs(
            self._trunk.features(
                lambda index: run.store.prepared(entries[index]),
                len(entries),
                prepared_key(run.recipe, entries),
            )
        )

    def _solve(self, fitting: Fitting, heads: tuple[str, ...], settings: Head) -> None:
        """Put the closed-form solution into the outputs, in the order in which they depend."""
        began = time.monotonic()
        copies = TrainingCopies(self.run, settings.views)
        features = self._features_of(copies)
        truth, weights = self.run.labels("train"), self._labels(heads, 0.0).importance
        feature = self.run.spec.feature
        for head in sorted(heads, key=lambda name: name != feature):
            layer = self.network.get_layer(head)
            kernel, bias = discriminant(
                self._below(layer, features),
                np.tile(truth[head], copies.count),
                None if weights is None else np.tile(weights, copies.count),
                layer.units,
                shrinkage=settings.shrinkage,
                smoothing=settings.label_smoothing,
            )
            layer.set_weights([kernel, bias])
        solved(self.run, fitting, *self._training_quality(fitting), time.monotonic() - began)

    def _below(self, layer: keras.layers.Layer, features: Floats) -> Floats:
        """Return what an output layer reads, for these features of the trunk."""
        trunk = self.network.get_layer(FEATURES).output
        if layer.input is trunk:
            return features
        model = keras.Model(trunk, layer.input)
        return np.asarray(predicted(model, features, 1024), np.float32)

    def _training_quality(self, fitting: Fitting) -> tuple[float, float]:
        """Loss and accuracy on the training copies, as an epoch would have told."""
        compile_for(fitting)
        batches, steps = feed(fitting.batches(0))
        found = fitting.model.evaluate(batches, steps=steps, verbose=0, return_dict=True)
        accuracies = [value for name, value in found.items() if name.endswith("accuracy")]
        return float(found["loss"]), float(np.mean(accuracies))

    def _features_of(self, copies: TrainingCopies) -> Floats:
        return self._trunk.features(copies, len(copies), copies.key)

    @property
    def _trunk(self) -> Trunk:
        return Trunk(self.network)  # anew each time: between two phases its weights change

    def fine_tune(self, *heads: str, held: str | None = None) -> None:
        """Fit outputs and the trunk from the recipe's groups upwards, on augmented images.

        With several groups in the recipe, one phase after another. `held` is an output that is
        kept by distillation: it learns to answer as it did when the phase began.
        """
        settings = self.run.recipe.fine_tune
        rounds = list(zip(settings.start, settings.epochs, strict=True))
        name = f"{'-and-'.join(heads)}-fine-tuning" + ("-distilled" if held else "")
        for number, (start, epochs) in enumerate(rounds, start=1):
            phase = name if len(rounds) == 1 else f"{name}-{number}"
            self._fine_tune(phase, heads, held, start, epochs)

    def _fine_tune(
        self, phase: str, heads: tuple[str, ...], held: str | None, start: str, epochs: int
    ) -> None:
        run, settings = self.run, self.run.recipe.fine_tune
        blend = settings.blend if self.pretrained else 1.0
        if epochs == 0:
            return
        if restore_finished(run, phase, self.network, epochs, blend < 1):
            logger.info("%s was done", phase)
            return
        trained = (*heads, held) if held else heads
        self._free(trained, start, settings.batch_norm)
        entries = run.entries("train")
        labels = self._labels(heads, settings.label_smoothing)
        answer = teacher(run, phase, self.network, held) if held else None

        def batches(epoch: int) -> keras.utils.Sequence:
            views = AugmentedBatches(
                run.store,
                entries,
                labels,
                run.recipe.augment,
                batch=settings.batch,
                seed=run.seed,
                epoch=epoch,
            )
            return DistilBatches(views, answer, held) if answer and held else views

        weights = self._loss_weights(heads)
        if held:
            weights[held] = run.recipe.strategy.distil_weight
        fit(
            run,
            Fitting(
                phase=phase,
                model=self._model(trained),
                network=self.network,
                batches=batches,
                validation=(
                    PreparedInputs(run.store, run.entries("val")),
                    {head: run.labels("val")[head] for head in heads},
                ),
                epochs=epochs,
                settings=settings,
                loss_weights=weights,
                blend=blend,
                spread=settings.blend_spread,
                warm_up=self.pretrained,
                xla=self.xla,
            ),
        )

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
        """Targets of the training part, and what the recipe's balance makes of rare landmarks."""
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
