"""Outputs that are fitted on the frozen backbone, by descent or in closed form."""

from __future__ import annotations

import dataclasses
import logging
import time

import numpy as np

from ..arrays import Floats
from ..backend import keras
from ..network import FEATURES, head_network
from ..recipes.sections import HeadSettings
from ..run import Run
from .batches import (
    FeatureBatches,
    FeatureInputs,
    ImageBatches,
    Labels,
    PreparedInputs,
    balanced,
    soft_targets,
)
from .checkpoint import restore_finished, start_weights
from .discriminant import discriminant
from .divergence import check_finite, naming
from .features import FrozenBackbone, TrainingCopies, prepared_key
from .phase import (
    Epoch,
    Fitting,
    Inputs,
    choose_fitted_share,
    fit,
    record_solved,
    training_quality,
)
from .replicas import predicted

logger = logging.getLogger(__name__)


def head_phase(heads: tuple[str, ...]) -> str:
    """Return the name of the phase that fits these outputs on the frozen backbone."""
    return f"{'-and-'.join(heads)}-head"


def refit_phase(heads: tuple[str, ...]) -> str:
    """Return the name of the phase that solves fine-tuned outputs again."""
    return f"{'-and-'.join(heads)}-refit"


def head_epochs(settings: HeadSettings) -> int:
    """Return the number of epochs of a phase; a closed form has one."""
    return 1 if settings.optimizer == "discriminant" else settings.epochs


def heads_model(network: keras.Model, heads: tuple[str, ...]) -> keras.Model:
    """Return the network with these outputs alone."""
    outputs = {head: network.get_layer(head).output for head in heads}
    return keras.Model(network.input, outputs)


def training_labels(
    run: Run, network: keras.Model, heads: tuple[str, ...], smoothing: float
) -> Labels:
    """Return the targets of the training part, weighted by the recipe's balance."""
    truth = run.labels("train")
    targets = {
        head: soft_targets(truth[head], network.get_layer(head).units, smoothing) for head in heads
    }
    balance, sharing = run.recipe.data.balance, run.sharing("train")
    if balance == "none":
        return Labels(targets, sharing=sharing)
    weights = balanced(truth["landmark"], network.get_layer("landmark").units)
    return (
        Labels(targets, weights=weights, sharing=sharing)
        if balance == "weights"
        else Labels(targets, chances=weights, sharing=sharing)
    )


def loss_weights(run: Run, heads: tuple[str, ...]) -> dict[str, float]:
    """Return the weight of each output in the loss."""
    if len(heads) == 1:
        return {heads[0]: 1.0}
    strategy = run.recipe.strategy
    weights = {"landmark": strategy.landmark_weight, "category": strategy.category_weight}
    return {head: weights[head] for head in heads}


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadFit:
    """A phase on the frozen backbone.

    Attributes:
        run: the run folder.
        network: the whole network.
        heads: the outputs that are fitted together.
        first: true for the phase that also fits the layers which the outputs share.
        shared: the run whose fold this one is if the backbone is still that of the whole run,
            whose features are computed once for all folds; otherwise None.
        xla: true if the steps are compiled.
        refit: the share of the closed form in outputs that were fine-tuned, or None for outputs
            that are new.
        spread: the standard deviation by which the validation part may move that share.
        choose: if false, the caller writes the share, and the phase ends without it.
    """

    run: Run
    network: keras.Model
    heads: tuple[str, ...]
    first: bool
    shared: Run | None = None
    xla: bool = False
    refit: float | None = None
    spread: float = 0.0
    choose: bool = True

    @property
    def phase(self) -> str:
        """The name of the phase."""
        return head_phase(self.heads) if self.refit is None else refit_phase(self.heads)

    @property
    def section(self) -> str:
        """The section of the recipe that the settings are."""
        return "head" if self.first else "second_head"

    @property
    def settings(self) -> HeadSettings:
        """The settings of the recipe."""
        return self.run.recipe.head if self.first else self.run.recipe.second_head

    @property
    def _action(self) -> str:
        """What to do if the features are not finite, or have no solution."""
        if self.first:
            return "train anew with other --weights"
        return "train anew with a lower fine_tune.learning_rate"

    def fit(self) -> bool:
        """Fit, or restore what an earlier call left; return true if it was restored.

        Raises:
            DivergedError: if a value is not finite.
        """
        run, phase, settings = self.run, self.phase, self.settings
        refits = self.refit is not None
        epochs = 1 if refits else head_epochs(settings)
        if epochs == 0:
            return False
        if restore_finished(run, phase, self.network, epochs, refits):
            return True
        for layer in self.network.layers:
            between = layer.name.startswith("head_")
            layer.trainable = layer.name in self.heads or (self.first and between)
        copies = TrainingCopies(run, settings.views)
        labels = training_labels(run, self.network, self.heads, settings.label_smoothing)
        with naming(run, phase, self._action):
            if refits or settings.optimizer == "discriminant":
                self._solve(copies, labels)
                return False
            fitting = self._by_descent(copies, labels)
        fit(run, fitting)
        return False

    def _by_descent(self, copies: TrainingCopies, labels: Labels) -> Fitting:
        run, settings, tiled = self.run, self.settings, labels.tiled(copies.count)
        if settings.cached:
            backbone = FrozenBackbone(self.network)
            features = self._features(backbone, copies)
            return self._on_features(features, self._validation_features(backbone), tiled)
        batch, seed = settings.batch, run.seed
        return self._fitting(
            heads_model(self.network, self.heads),
            lambda epoch: ImageBatches(copies, tiled, batch=batch, seed=seed, epoch=epoch),
            PreparedInputs(run.store, run.sharing("val").chosen(run.entries("val"))),
        )

    def _on_features(self, features: Floats, validation: Inputs, labels: Labels) -> Fitting:
        """Return the fitting of the layers above cached features."""
        batch, seed = self.settings.batch, self.run.seed
        return self._fitting(
            head_network(self.network, self.heads),
            lambda epoch: FeatureBatches(features, labels, batch=batch, seed=seed, epoch=epoch),
            validation,
        )

    def _fitting(self, model: keras.Model, batches: Epoch, validation: Inputs) -> Fitting:
        truth = self.run.labels("val")
        return Fitting(
            phase=self.phase,
            model=model,
            network=self.network,
            batches=batches,
            validation=(validation, {head: truth[head] for head in self.heads}),
            epochs=head_epochs(self.settings),
            settings=self.settings,
            section=self.section,
            loss_weights=loss_weights(self.run, self.heads),
            blend=1.0 if self.refit is None else self.refit,
            spread=self.spread,
            choose=self.choose,
            xla=self.xla,
            sharing=self.run.sharing("val"),
        )

    def _features(self, backbone: FrozenBackbone, copies: TrainingCopies) -> Floats:
        """Return the features of the training copies, (copies * N, F), or of this worker's own."""
        if self.shared is None:
            own = copies.own
            return backbone.features(lambda row: copies(own[row]), len(own), copies.share_key)
        every = TrainingCopies(self.shared, copies.views)
        found = backbone.features(every, len(every), every.key)
        places = {entry: place for place, entry in enumerate(self.shared.entries("train"))}
        rows = [places[entry] for entry in self.run.entries("train")]
        each = found.reshape(copies.count, len(places), -1)
        return np.concatenate([one[rows] for one in each])

    def _validation_features(self, backbone: FrozenBackbone) -> Inputs:
        run, sharing = self.run, self.run.sharing("val")
        entries = sharing.chosen(run.entries("val"))
        return FeatureInputs(
            backbone.features(
                lambda index: run.store.prepared(entries[index]),
                len(entries),
                prepared_key(run.recipe, entries),
            )
        )

    def _solve(self, copies: TrainingCopies, labels: Labels) -> None:
        """Put the closed-form solution into the outputs, in the order in which they depend.

        Outputs that were fine-tuned keep a share of their weights: the mean of two linear outputs
        on the same features is one.
        """
        backbone = FrozenBackbone(self.network)
        features = self._features(backbone, copies)
        fitting = self._on_features(
            features, self._validation_features(backbone), labels.tiled(copies.count)
        )
        if self.refit is not None:
            start_weights(self.run, self.phase, self.network)
        began = time.monotonic()
        truth, feature = self.run.labels("train"), self.run.spec.feature
        importance = labels.importance
        for head in sorted(self.heads, key=lambda name: name != feature):
            layer = self.network.get_layer(head)
            kernel, bias = discriminant(
                self._below(layer, features),
                np.tile(truth[head], copies.count),
                None if importance is None else np.tile(importance, copies.count),
                layer.units,
                shrinkage=self.settings.shrinkage,
                smoothing=self.settings.label_smoothing,
                own=copies.own if self.run.sharing("train").size > 1 else None,
            )
            check_finite({head: kernel, f"{head} bias": bias}, "the weights")
            layer.set_weights([kernel, bias])
        loss, accuracy = training_quality(fitting)
        seconds = time.monotonic() - began
        record_solved(self.run, fitting, loss=loss, accuracy=accuracy, seconds=seconds)
        if self.refit is not None:
            if self.choose:
                choose_fitted_share(self.run, fitting)
            restore_finished(self.run, self.phase, self.network, 1, True)

    def _below(self, layer: keras.layers.Layer, features: Floats) -> Floats:
        """Return what an output layer reads, computed from these features."""
        backbone = self.network.get_layer(FEATURES).output
        if layer.input is backbone:
            return features
        model = keras.Model(backbone, layer.input)
        return np.asarray(predicted(model, features, 1024), np.float32)
