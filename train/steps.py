"""The steps that strategies are made of: a head on frozen features, and fine-tuning."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lmedge.progress import progress

from .backbones import BACKBONES
from .backend import keras, tf
from .batches import AugmentedBatches, FeatureBatches, one_hot
from .fit import Fitting, fit, restore_finished
from .network import FEATURES, head_network, normalise, traced
from .pictures import Entry
from .run import Run

FEATURE_BATCH = 32
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Job:
    """A network being trained for a run. `pretrained` tells whether its trunk means anything."""

    run: Run
    network: keras.Model
    pretrained: bool

    def fit_head(self, head: str, *, shared: bool) -> None:
        """Fit one output on the frozen trunk, on features that are computed once.

        `shared` also fits the layers between the trunk and the outputs; a later head leaves them
        as they are, so that the earlier one stays exactly what it was.
        """
        settings, run, phase = self.run.recipe.head, self.run, f"{head}-head"
        if settings.epochs == 0:
            return
        if restore_finished(run, phase, self.network, settings.epochs):
            logger.info("%s was done", phase)
            return
        for layer in self.network.layers:
            between = layer.name.startswith("head_")
            layer.trainable = layer.name == head or (shared and between)
        truth = run.labels("train")[head]
        features, copies = self._training_features(settings.views)
        classes = self.network.get_layer(head).units
        targets = np.tile(one_hot(truth, classes), (copies, 1))
        fit(
            run,
            Fitting(
                phase=phase,
                model=head_network(self.network, head),
                network=self.network,
                batches=lambda epoch: FeatureBatches(
                    features, targets, batch=settings.batch, seed=run.seed, epoch=epoch
                ),
                validation=(self.features(run.pictures("val")), run.labels("val")[head]),
                epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                weight_decay=settings.weight_decay,
                label_smoothing=settings.label_smoothing,
            ),
        )

    def fine_tune(self, head: str) -> None:
        """Fit one output and the trunk from the recipe's group upwards, on augmented pictures."""
        settings, run, phase = self.run.recipe.fine_tune, self.run, f"{head}-fine-tuning"
        blend = settings.blend if self.pretrained else 1.0
        if settings.epochs == 0:
            return
        if restore_finished(run, phase, self.network, settings.epochs, blend):
            logger.info("%s was done", phase)
            return
        self._free(head, settings.start, settings.batch_norm)
        truth, entries = run.labels("train")[head], run.entries("train")
        classes = self.network.get_layer(head).units
        fit(
            run,
            Fitting(
                phase=phase,
                model=keras.Model(self.network.input, self.network.get_layer(head).output),
                network=self.network,
                batches=lambda epoch: AugmentedBatches(
                    run.store,
                    entries,
                    truth,
                    classes,
                    run.recipe.augment,
                    batch=settings.batch,
                    seed=run.seed,
                    epoch=epoch,
                ),
                validation=(normalise(run.pictures("val")), run.labels("val")[head]),
                epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                weight_decay=settings.weight_decay,
                label_smoothing=settings.label_smoothing,
                blend=blend,
                warm_up=self.pretrained,
            ),
        )

    def _free(self, head: str, start: str, batch_norm: str) -> None:
        """Make the layers from group `start` upwards trainable, and no others."""
        groups = BACKBONES[self.run.recipe.network.backbone].groups
        lower = tuple(groups[: groups.index(start)])
        statistics = batch_norm == "train" or not self.pretrained
        for layer in self.network.layers:
            frozen = self.pretrained and bool(lower) and layer.name.startswith(lower)
            normalises = isinstance(layer, keras.layers.BatchNormalization)
            other_head = layer.name in ("landmark", "category") and layer.name != head
            layer.trainable = not (frozen or other_head or (normalises and not statistics))
            if normalises and not self.pretrained:
                # Keras' 0.99 takes some 500 steps to forget the random start; a small training
                # from scratch is hardly longer than that.
                layer.momentum = 0.9

    def _training_features(self, views: int) -> tuple[npt.NDArray[np.float32], int]:
        """Features of each training picture, its mirror image and `views` random views.

        Returns ((copies * N, F) float32, copies); each copy is in the order of the entries.
        """
        run = self.run
        pictures = run.pictures("train")
        parts = [self.features(pictures), self.features(pictures[:, :, ::-1])]
        entries: Sequence[Entry] = run.entries("train")
        for view in range(views):
            batches = AugmentedBatches(
                run.store,
                entries,
                run.labels("train")["landmark"],
                run.spec.landmarks,
                run.recipe.augment,
                batch=FEATURE_BATCH,
                seed=run.seed,
                epoch=-1 - view,
            )
            parts.append(self._unshuffled(batches))
        return np.concatenate(parts), len(parts)

    def _unshuffled(self, batches: AugmentedBatches) -> npt.NDArray[np.float32]:
        found = np.concatenate(
            [self._trunk(batches.inputs(index)) for index in range(len(batches))]
        )
        ordered = np.empty_like(found)
        ordered[batches.order] = found
        return ordered

    def features(self, pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the pooled features (N, F) of prepared pictures, (N, S, S, 3) uint8 RGB."""
        starts = range(0, len(pictures), FEATURE_BATCH)
        parts = []
        with progress("Computing features", len(starts)) as advance:
            for start in starts:
                parts.append(self._trunk(normalise(pictures[start : start + FEATURE_BATCH])))
                advance()
        if not parts:
            return np.zeros((0, self.network.get_layer(FEATURES).output.shape[-1]), np.float32)
        return np.concatenate(parts)

    def _trunk(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(traced(self._trunk_model)(tf.constant(images)), np.float32)

    @functools.cached_property
    def _trunk_model(self) -> keras.Model:
        # Kept here, for a model that is an attribute of another becomes one of its layers:
        # it would be saved with it, and thawing it would thaw the whole trunk.
        return keras.Model(self.network.input, self.network.get_layer(FEATURES).output)
