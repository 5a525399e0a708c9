"""The steps that strategies are made of: heads on frozen features, and fine-tuning."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping

from lmedge.model_file import HEADS

from ..backbones import BACKBONES
from ..backend import keras
from ..run import Run
from .batches import AugmentedBatches, DistilBatches, PreparedInputs
from .checkpoint import restore_finished, start_network
from .heads import (
    HeadFit,
    head_epochs,
    head_phase,
    heads_model,
    loss_weights,
    refit_phase,
    training_labels,
)
from .phase import Epoch, Fitting, fit
from .strategies import STRATEGIES

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """A step of the training of a run.

    Attributes:
        name: the name of its rows in history.csv, and of its files.
        heads: the outputs that it trains by their labels.
        fit: fits the network, or restores what an earlier call left.
        epochs: the number of its epochs.
        blends: true if a share of the fitted weights is kept afterwards.
        share: the share that the recipe keeps.
        refits: true if fine-tuned outputs are solved again, on the backbone as it is.
    """

    name: str
    heads: tuple[str, ...]
    fit: Callable[[], None]
    epochs: int
    blends: bool = False
    share: float = 1.0
    refits: bool = False


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
            fold's is written by the caller, who chooses it by the answers of all folds. With 0 the
            phase is left out.
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
            found.append(self._head(first, first=True))
        found += [*self._fine_tuning(first, None), *self._refit(first)]
        if second is not None:
            found.append(self._head((second,), first=False))
            if self.run.recipe.strategy.phase2 == "distil":
                (held,) = first
                found += [*self._fine_tuning((second,), held), *self._refit((second,))]
        return found

    def fit_heads(self, *heads: str) -> None:
        """Fit outputs and the layers below that they share, on the frozen backbone."""
        self._head(heads, first=True).fit()

    def fit_second_head(self, head: str) -> None:
        """Fit one output alone: the layers that the first one depends on do not change."""
        self._head((head,), first=False).fit()

    def _head(self, heads: tuple[str, ...], *, first: bool) -> Phase:
        own = HeadFit(
            run=self.run,
            network=self.network,
            heads=heads,
            first=first,
            # before anything is fitted the backbone is that of the whole run
            shared=self.whole if first and self.pretrained else None,
            xla=self.xla,
        )
        name = head_phase(heads)

        def fit_or_restore() -> None:
            if own.fit():
                self._log_done(name)

        return Phase(name=name, heads=heads, fit=fit_or_restore, epochs=head_epochs(own.settings))

    def _refit(self, heads: tuple[str, ...]) -> list[Phase]:
        """Return the phase that solves fine-tuned outputs again, if there is one."""
        settings = self.run.recipe.fine_tune
        if not (self.pretrained and settings.refit and sum(settings.epochs)):
            return []
        name, second = refit_phase(heads), STRATEGIES[self.run.strategy].second

        def fit_or_restore() -> None:
            share = self.shares.get(name, settings.refit)
            if share == 0:
                return
            own = HeadFit(
                run=self.run,
                network=self.network,
                heads=heads,
                first=second not in heads,
                xla=self.xla,
                refit=share,
                spread=self._spread(name),
                choose=not self._is_fold,
            )
            if own.fit():
                self._log_done(name)

        return [
            Phase(
                name=name,
                heads=heads,
                fit=fit_or_restore,
                epochs=1,
                blends=True,
                share=settings.refit,
                refits=True,
            )
        ]

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
        own = self.run.recipe.second_head if held else self.run.recipe.head
        fitted = self.pretrained and head_epochs(own) > 0  # the heads, before this phase
        found = []
        for number, (start, epochs) in enumerate(rounds, start=1):
            phase = Phase(
                name=common if len(rounds) == 1 else f"{common}-{number}",
                heads=heads,
                fit=lambda: None,
                epochs=epochs,
                share=settings.blend if self.pretrained else 1.0,
            )
            blends = epochs > 0 and (self._blend(phase) < 1 or self._is_fold)
            fit = functools.partial(self._fine_tune, phase, held, start, fitted or number > 1)
            found.append(dataclasses.replace(phase, fit=fit, blends=blends))
        return found

    @property
    def _is_fold(self) -> bool:
        """True if the caller chooses the shares."""
        return self.whole is not None and self.pretrained

    def _spread(self, phase: str) -> float:
        """Return the deviation by which the validation part may move the share of a phase."""
        return 0.0 if phase in self.shares else self.run.recipe.fine_tune.blend_spread

    def _blend(self, phase: Phase) -> float:
        """Return the share of fine-tuned weights that a phase begins to be judged with."""
        return self.shares.get(phase.name, phase.share)

    def _fine_tune(self, phase: Phase, held: str | None, start: str, judged: bool) -> None:
        """Fit a phase; `judged` is true if its heads were fitted before."""
        run, settings, blend = self.run, self.run.recipe.fine_tune, self._blend(phase)
        if phase.epochs == 0 or blend == 0:
            return
        blends = blend < 1 or self._is_fold
        if restore_finished(run, phase.name, self.network, phase.epochs, blends):
            self._log_done(phase.name)
            return
        trained = (*phase.heads, held) if held else phase.heads
        free_layers(
            self.network,
            run.recipe.network.backbone,
            trained,
            start=start if self.pretrained else None,
            statistics=settings.batch_norm == "train",
        )
        batches, weights = self._augmented(phase.heads), loss_weights(run, phase.heads)
        if held:
            batches = self._distilled(batches, phase.name, held)
            weights[held] = run.recipe.strategy.distil_weight
        truth = run.labels("val")
        fitting = Fitting(
            phase=phase.name,
            model=heads_model(self.network, trained),
            network=self.network,
            batches=batches,
            validation=(
                PreparedInputs(run.store, run.sharing("val").chosen(run.entries("val"))),
                {head: truth[head] for head in phase.heads},
            ),
            epochs=phase.epochs,
            settings=settings,
            loss_weights=weights,
            blend=blend,
            spread=self._spread(phase.name),
            choose=not self._is_fold,
            judged=judged,
            warm_up=self.pretrained,
            xla=self.xla,
            sharing=run.sharing("val"),
        )
        fit(run, fitting)

    def _log_done(self, phase: str) -> None:
        """Log that a phase was restored; a fold comes back to each phase before every later one."""
        logger.log(logging.INFO if self.whole is None else logging.DEBUG, "%s was done", phase)

    def _augmented(self, heads: tuple[str, ...]) -> Epoch:
        """Return the batches of random views of the training images."""
        run, settings = self.run, self.run.recipe.fine_tune
        labels = training_labels(run, self.network, heads, settings.label_smoothing)
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


def free_layers(
    network: keras.Model,
    backbone: str,
    heads: tuple[str, ...],
    *,
    start: str | None,
    statistics: bool = False,
) -> None:
    """Make the layers of the backbone from group `start` upwards trainable, and these outputs.

    Args:
        network: the whole network.
        backbone: its name.
        heads: the outputs that learn.
        start: a group of the backbone, None for all of it, from random weights.
        statistics: true if batch norm learns too. From random weights it does in any case.
    """
    groups = BACKBONES[backbone].groups
    lower = () if start is None else tuple(groups[: groups.index(start)])
    for layer in network.layers:
        frozen = bool(lower) and layer.name.startswith(lower)
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        other_head = layer.name in HEADS and layer.name not in heads
        fixed = normalises and not statistics and start is not None
        layer.trainable = not (frozen or other_head or fixed)
        if normalises and start is None:
            # Keras' 0.99 takes some 500 steps to forget the random start; a small training
            # from scratch is hardly longer than that.
            layer.momentum = 0.9
