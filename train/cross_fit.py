"""Cross-fitting: networks that each learn from all folds but one, and predict that one.

All folds go through the training phase by phase. What a phase has to choose, the share of the
fine-tuned weights, is chosen by the answers of all folds together before the next phase begins.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmedge.model_file import HEADS

from .arrays import Floats, Weights, read_arrays
from .backend import keras
from .calibration import calibrated_likelihood
from .data.split import Split
from .data.store import ImageEntry
from .fitting.checkpoint import blended, checkpoint_folder, phase_file, write_share
from .fitting.steps import Phase, Trainer
from .fitting.validation import Quality, likeliest_share, mean_quality, quality_of
from .network import (
    FEATURES,
    get_weights,
    measured_network,
    predict_logits,
    predict_outputs,
    set_weights,
    with_features,
)
from .out_of_fold import OutOfFold, fold_folder, has_answers, read_out_of_fold
from .recipes import change_recipe
from .run import Run

Truth = Mapping[str, npt.NDArray[np.int64]]
_UNKNOWN = "unknown"
# The images that would choose an epoch are those that give the figures.
_LAST_EPOCH = tuple(f"{section}.keep=last" for section in ("head", "second_head", "fine_tune"))
logger = logging.getLogger(__name__)


def cross_fit(run: Run, network: keras.Model, *, pretrained: bool, xla: bool) -> OutOfFold:
    """Train the fold networks of a run and return their answers, which are written to its folder.

    Goes on after a kill. The network comes back with the weights that it came with.

    Args:
        run: a run with a plan.
        network: the whole network, with the weights that every fold begins from.
        pretrained: true if the backbone holds pretrained weights.
        xla: true if the steps are compiled.
    """
    if has_answers(run.folder):
        logger.info("the folds were done")
        return read_out_of_fold(run)
    assert run.plan is not None
    work = _CrossFit(run=run, network=network, pretrained=pretrained, xla=xla)
    logger.info(
        "%d of %d folds, each predicted by a network that has not seen it",
        run.plan.networks,
        run.plan.folds,
    )
    found = work.answers()
    found.write(run.folder)
    for folder in (checkpoint_folder(fold) for fold in work.folds):
        shutil.rmtree(folder, ignore_errors=True)
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class _CrossFit:
    run: Run
    network: keras.Model
    pretrained: bool
    xla: bool

    @functools.cached_property
    def folds(self) -> list[Run]:
        """The runs of the folds, whose validation part is the fold."""
        assert self.run.plan is not None
        return [self._fold(number) for number in range(self.run.plan.networks)]

    def _fold(self, number: int) -> Run:
        folder = fold_folder(self.run, number)
        if (folder / "run.json").exists():
            return Run.open(folder).moved_to(Path(self.run.data))
        assert self.run.plan is not None
        inside = self.run.plan.fold == number
        train: list[ImageEntry] = []
        held: list[ImageEntry] = []
        for entry, own in zip(self.run.entries("train"), inside, strict=True):
            (held if own else train).append(entry)
        fold = dataclasses.replace(
            self.run,
            folder=folder,
            recipe=change_recipe(self.run.recipe, _LAST_EPOCH),
            split=Split({"train": tuple(train), "val": tuple(held), "test": ()}),
            plan=None,
            skipped=(),
        )
        fold.create()
        return fold

    def answers(self) -> OutOfFold:
        """Train all folds and ask each."""
        start = get_weights(self.network)
        trainers = [
            Trainer(
                run=fold,
                network=self.network,
                pretrained=self.pretrained,
                xla=self.xla,
                whole=self.run,
            )
            for fold in self.folds
        ]
        shares: dict[str, float] = {}
        found: list[dict[str, Floats]] = []
        count = len(trainers[0].phases())
        for place in range(count):
            for number, trainer in enumerate(trainers, start=1):
                self._train(trainer, start, place, number)
                if place == count - 1 and not trainer.phases()[place].blends:
                    found.append(self._asked())
            phase = trainers[0].phases()[place]
            if phase.blends:
                shares[phase.name] = self._choose(phase)
        for trainer in trainers[len(found) :]:  # the last phase is blended
            self._train(trainer, start, count - 1, None)
            found.append(self._asked())
        set_weights(self.network, start, self.run.folder)
        return self._joined(found, shares)

    def _train(self, trainer: Trainer, start: Weights, place: int, number: int | None) -> None:
        """Put the network into the state behind a phase of a fold, fitting what is missing."""
        set_weights(self.network, start, self.run.folder)
        phases = trainer.phases()[: place + 1]
        if number is not None:
            logger.info("fold %d of %d: %s", number, len(self.folds), phases[-1].name)
        for phase in phases:
            phase.fit()

    def _asked(self) -> dict[str, Floats]:
        """Return logits and features of the network as it is, for all images that it is asked."""
        set_weights(self._measured, get_weights(self.network), self.run.folder)
        found = predict_outputs(self._asking, self.run.images("train"))
        unknown = predict_outputs(self._asking, self.run.unknown_images())
        return {**found, _UNKNOWN: unknown[FEATURES]}

    @functools.cached_property
    def _measured(self) -> keras.Model:
        """The network for the images that it is measured on; one graph for all folds."""
        return measured_network(self.run, self.network)

    @functools.cached_property
    def _asking(self) -> keras.Model:
        return with_features(self._measured)

    def _choose(self, phase: Phase) -> float:
        """Choose the share of a phase's fitted weights by the answers of all folds.

        The best share of a fine-tuned backbone grows with the number of images. The fold networks
        have learned fewer than the network that ships, so that less than the recipe's share is not
        taken. A share is 0 if the phase made the answers worse beyond doubt.
        """
        spread = self.run.recipe.fine_tune.blend_spread if phase.share < 1 else 0.0
        answers = self._answers_by_share(phase)
        found = likeliest_share(
            phase.share, spread, lambda share: calibrated_likelihood(*answers(share))
        )
        share = found if phase.refits else max(phase.share, found)
        before, after = _quality(*answers(0.0)), _quality(*answers(share))
        if not after.matches(before, "f1"):
            share = 0.0
            logger.warning(
                "%s is left out: with it, macro F1 of the out-of-fold answers falls from %.3f to "
                "%.3f; try %s",
                phase.name,
                before.macro_f1,
                after.macro_f1,
                "fine_tune.refit=0"
                if phase.refits
                else "a lower fine_tune.learning_rate than "
                f"{self.run.recipe.fine_tune.learning_rate:g}",
            )
        logger.info(
            "%s: %g of the weights it ends with are kept, by %d out-of-fold answers",
            phase.name,
            share,
            sum(len(fold.entries("val")) for fold in self.folds),
        )
        for fold in self.folds:
            write_share(fold, phase.name, share)
        return share

    def _answers_by_share(self, phase: Phase) -> Callable[[float], tuple[dict[str, Floats], Truth]]:
        """Return the function that gives, for a share, logits and true classes of all folds.

        They are of each fold's own images, by head of the phase.
        """
        truth = {
            head: np.concatenate([fold.labels("val")[head] for fold in self.folds])
            for head in phase.heads
        }

        @functools.cache
        def answers(share: float) -> tuple[dict[str, Floats], Truth]:
            parts = list(self._held_out(phase, share))
            return {head: np.concatenate([part[head] for part in parts]) for head in truth}, truth

        return answers

    def _held_out(self, phase: Phase, share: float) -> Iterator[dict[str, Floats]]:
        """Yield the logits of each fold for its own images, with a share of its weights."""
        for fold in self.folds:
            path = phase_file(fold, phase.name, "-best")
            began = read_arrays(phase_file(fold, phase.name, "-start"))
            set_weights(self._measured, blended(began, read_arrays(path), share), path)
            yield predict_logits(self._measured, fold.images("val"))

    def _joined(self, found: list[dict[str, Floats]], shares: dict[str, float]) -> OutOfFold:
        plan = self.run.plan
        assert plan is not None
        places = plan.measured
        own = plan.fold[places]
        return OutOfFold(
            places=places,
            fold=own,
            logits={
                head: np.stack(
                    [found[fold][head][place] for fold, place in zip(own, places, strict=True)]
                )
                for head in HEADS
            },
            features=np.stack([one[FEATURES] for one in found]).astype(np.float16),
            unknown=np.stack([one[_UNKNOWN] for one in found]).astype(np.float16),
            shares=shares,
        )


def _quality(logits: Mapping[str, Floats], truth: Truth) -> Quality:
    """Return the mean quality of the heads."""
    return mean_quality(
        [quality_of(logits[head].astype(np.float64), own) for head, own in truth.items()]
    )
