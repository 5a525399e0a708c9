"""Mistakes by the shares that a network keeps: of fine-tuned weights, and of the closed form.

    python -m benchmarks.studies.fitted_shares DATA --weights FILE.h5 --runs DIR

All photographs are spread over five folds, as `lmedge compare --folds 5` does, once for each
assignment. For each fold one network learns from the others as `lmedge train` does, without fold
networks of its own. Its weights are then start + blend (fine-tuned - start). Its landmark output is
the mean of that and of the closed form on the features of these weights (`fine_tune.refit`).

DIR keeps the networks, 40 MB each; a run that was stopped goes on with them. Temperatures and the
weight of the category head are fitted to the answers of all folds, for every row alike.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from lmedge.decoding import joint_probabilities, log_softmax
from lmedge.evaluation.scoring import Scores, score_probabilities
from lmedge.model_file import HEADS
from lmedge.report.csv_files import study_command, write_csv
from lmedge.taxonomy import Taxonomy
from lmedge.train.arrays import Floats, Weights, read_arrays
from lmedge.train.backbones import BACKBONES, load_stock_weights
from lmedge.train.backend import keras
from lmedge.train.calibration import fit_calibration
from lmedge.train.compare.plan import Trial, settings_of, trials_of
from lmedge.train.fitting.checkpoint import blended, phase_file
from lmedge.train.fitting.discriminant import discriminant
from lmedge.train.fitting.features import FrozenBackbone, TrainingCopies, prepared_key
from lmedge.train.fitting.steps import Phase, Trainer
from lmedge.train.network import build_network, set_weights
from lmedge.train.run import Run

from .common import PATH, out_option, run_study

FOLDS = 5
BLENDS = (0.6, 0.8, 1.0)
REFITS = (0.0, 0.25, 0.5, 0.75, 1.0)
BEFORE = (0.6, 0.0)  # the recipe before the refit: rows are compared with it
PHASES = ("landmark-head", "landmark-fine-tuning")
Answers = dict[str, npt.NDArray[np.float32]]
Truth = Mapping[str, npt.NDArray[np.int64]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharesRow:
    """All images of DATA, each by the network that has not learned it: means of the assignments.

    `landmark_wrong` and `category_wrong` are mistakes after joint decoding, `mended` and `broken`
    images that are right here and wrong in the row of blend 0.6 and refit 0, and the other way
    round. `log_loss` is that of the landmark head alone, for an image.
    """

    blend: float
    refit: float
    images: int
    assignments: int
    landmark_f1: float
    category_f1: float
    landmark_wrong: float
    category_wrong: float
    mended: float
    broken: float
    log_loss: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scored:
    """The answers of the folds of an assignment.

    Of the landmark: `right` is (N,) bool, `losses` (N,) those of its head alone.
    """

    scores: Scores
    right: npt.NDArray[np.bool_]
    losses: npt.NDArray[np.float64]

    @property
    def log_loss(self) -> float:
        """The mean of the losses."""
        return float(self.losses.mean())


def fold_trials(weights: str, data: Path, assignments: int, changes: Sequence[str]) -> list[Trial]:
    """Return a trial of the default recipe for each fold of each assignment.

    No trial has fold networks of its own. `changes` are further values of the recipe.
    """
    settings = settings_of(
        strategies="landmarks-first",
        backbones=None,
        recipes="default",
        vary=[],
        changes=["data.folds=0", *changes],
        weights=[weights],
    )
    return trials_of(settings, data, folds=FOLDS, seeds=assignments, exclude=None, allow_leak=False)


def open_run(trial: Trial, data: Path, runs: Path) -> Run:
    """Return the run of a fold below `runs`; the first call writes its description."""
    folder = runs / f"seed-{trial.repeat.seed}-fold-{trial.repeat.fold}"
    if (folder / "run.json").exists():
        return Run.open(folder).moved_to(data.resolve())
    run = Run(
        folder=folder,
        recipe=trial.setting.recipe,
        split=trial.split,
        strategy=trial.setting.strategy,
        weights=trial.setting.weights,
        seed=trial.repeat.seed,
        data=str(data.resolve()),
    )
    run.create()
    return run


def phases_of(run: Run) -> list[Phase]:
    """Return the phases of a network with pretrained weights: the first head, fine-tuning..."""
    keras.utils.set_random_seed(run.seed)
    network = build_network(run.spec)
    backbone = BACKBONES[run.recipe.network.backbone]
    load_stock_weights(network, backbone, run.weights, run.recipe.data.normalisation)
    phases = Trainer(run=run, network=network, pretrained=True).phases()
    assert tuple(phase.name for phase in phases[:2]) == PHASES
    return phases


def network_of(run: Run, weights: Weights) -> keras.Model:
    """Return the network with weights."""
    network = build_network(run.spec)
    set_weights(network, weights, run.folder)
    return network


def ends(run: Run) -> tuple[Weights, Weights]:
    """Return the weights before fine-tuning and after it, trained once."""
    best = phase_file(run, PHASES[1], "-best")
    if not (best.exists() and phase_file(run, PHASES[1]).exists()):
        for phase in phases_of(run)[:2]:
            phase.fit()
    return read_arrays(phase_file(run, PHASES[0], "-best")), read_arrays(best)


def solved(run: Run, backbone: FrozenBackbone, views: int) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield each head, kernel (F, C) and bias (C,) in closed form.

    They are solved on each image of the training part, its copies and `views` random views.
    """
    copies = TrainingCopies(run, views)
    features = backbone.features(copies, len(copies), copies.key)
    truth, recipe = run.labels("train"), run.recipe
    for head, settings in (("landmark", recipe.head), ("category", recipe.second_head)):
        kernel, bias = discriminant(
            features,
            np.tile(truth[head], copies.count),
            None,
            int(truth[head].max()) + 1,
            shrinkage=settings.shrinkage,
            smoothing=settings.label_smoothing,
        )
        yield head, kernel, bias


def answers(
    run: Run, network: keras.Model, shares: Sequence[float], views: int
) -> Iterator[tuple[float, Answers]]:
    """Yield the logits of the test part by head, for each share of the closed form.

    That is solved as `solved` does; the category has the closed form alone.
    """
    entries, backbone = run.entries("test"), FrozenBackbone(network)
    key = prepared_key(run.recipe, entries)
    asked = backbone.features(lambda i: run.store.prepared(entries[i]), len(entries), key)
    closed = {head: asked @ kernel + bias for head, kernel, bias in solved(run, backbone, views)}
    kernel, bias = network.get_layer("landmark").get_weights()
    fitted = asked @ kernel + bias
    for share in shares:
        mixed = (1 - share) * fitted + share * closed["landmark"]
        yield share, {"landmark": mixed, "category": closed["category"]}


def joined(parts: Sequence[Mapping[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of all folds, one after another."""
    return {head: np.concatenate([part[head] for part in parts]) for head in HEADS}


def _rows(
    found: Mapping[tuple[int, float, float], list[Answers]],
    truths: Mapping[int, list[Truth]],
    taxonomy: Taxonomy,
) -> Iterator[SharesRow]:
    scored = {
        key: score(joined(parts), joined(truths[key[0]]), taxonomy) for key, parts in found.items()
    }
    for blend, refit in itertools.product(BLENDS, REFITS):
        own = [scored[seed, blend, refit] for seed in truths]
        pairs = [
            (one.right, scored[seed, *BEFORE].right) for seed, one in zip(truths, own, strict=True)
        ]
        images = len(own[0].right)
        yield SharesRow(
            blend=blend,
            refit=refit,
            images=images,
            assignments=len(own),
            landmark_f1=float(np.mean([one.scores["landmark"].macro_f1 for one in own])),
            category_f1=float(np.mean([one.scores["category"].macro_f1 for one in own])),
            landmark_wrong=float(np.mean([(~one.right).sum() for one in own])),
            category_wrong=float(
                np.mean([(1 - one.scores["category"].accuracy) * images for one in own])
            ),
            mended=float(np.mean([(after & ~before).sum() for after, before in pairs])),
            broken=float(np.mean([(before & ~after).sum() for after, before in pairs])),
            log_loss=float(np.mean([one.log_loss for one in own])),
        )


def score(logits: Answers, truth: Truth, taxonomy: Taxonomy) -> Scored:
    """Score answers whose temperatures and decoding are fitted to themselves."""
    calibration = fit_calibration(logits, truth, taxonomy)
    probabilities = calibration.probabilities(logits)
    weight = calibration.decoding.category_weight
    joint = joint_probabilities(
        probabilities["landmark"], probabilities["category"], taxonomy.parent_index, weight
    )
    landmark = truth["landmark"]
    scaled = logits["landmark"].astype(np.float64) / calibration.temperatures["landmark"]
    return Scored(
        scores=score_probabilities(probabilities, truth, taxonomy, weight),
        right=joint.argmax(axis=1) == landmark,
        losses=np.asarray(-log_softmax(scaled)[np.arange(len(landmark)), landmark], np.float64),
    )


def write_study(out: Path, rows: Sequence[Any], data: Path, weights: str, runs: Path) -> None:
    """Write and print the table of a study of networks below `runs`."""
    command = study_command(sys.argv, {data: "DATA", Path(weights): "FILE.h5", runs: "DIR"})
    write_csv(out, rows, data=data.resolve().name, command=command)
    click.echo(out.read_text("utf-8"), nl=False)


@click.command()
@click.argument("data", type=PATH)
@click.option("--weights", required=True, help="As for `lmedge train`.")
@click.option("--assignments", type=click.IntRange(1), default=3, show_default=True)
@click.option("--runs", type=PATH, required=True, help="The folder of the networks.")
@out_option("fitted_shares.csv")
def main(data: Path, weights: str, assignments: int, runs: Path, out: Path) -> None:
    """Train a network for each fold of DATA and score it with each pair of shares."""
    changes = ["fine_tune.keep=last", "fine_tune.blend=1", "fine_tune.refit=0"]
    found: dict[tuple[int, float, float], list[Answers]] = {}
    truths: dict[int, list[Truth]] = {}
    for trial in fold_trials(weights, data, assignments, changes):
        run = open_run(trial, data, runs)
        start, end = ends(run)
        truths.setdefault(trial.repeat.seed, []).append(run.labels("test"))
        for blend in BLENDS:
            network = network_of(run, blended(start, end, blend))
            for refit, logits in answers(run, network, REFITS, run.recipe.head.views):
                found.setdefault((trial.repeat.seed, blend, refit), []).append(logits)
        click.echo(f"{run.folder.name} is done")
    write_study(out, list(_rows(found, truths, run.taxonomy)), data, weights, runs)


if __name__ == "__main__":
    run_study(main)
