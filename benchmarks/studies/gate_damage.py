"""Planted damages that the gate must refuse, with and without a validation part.

    python -m benchmarks.studies.gate_damage RUN --out gate_damage.csv

RUN is cross-fitted and has a test part. Each damage is done to the logits that the int8 network
gives for the images that it has learned, and in the same way to those for the test images. The
gate of the cross-fitted run judges by the former. A gate with a validation part is imitated: it
judges by test images, as many as the recipe's share would hold back, drawn anew in each round. The
fall on all test images is what the damage really costs.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from lmedge.decoding import softmax
from lmedge.errors import DataError
from lmedge.evaluation.scoring import score_probabilities
from lmedge.export.formats import RunNetworks, Stages, calibration_inputs
from lmedge.export.quantization import ranges
from lmedge.export.quantization.lower import lower
from lmedge.export.quantization.scheme import quantize
from lmedge.export.verification.comparison import Logits, compare_outputs
from lmedge.export.verification.gate import Limits, gate
from lmedge.export.verification.judge import Judge, judged_images
from lmedge.model_file import HEADS
from lmedge.report.csv_files import study_command, write_csv
from lmedge.train.network import predict_logits
from lmedge.train.run import Run

from .common import PATH, out_option, run_study

ONES = dict.fromkeys(HEADS, 1.0)
SWEEP = np.linspace(0.1, 6.0, 60)  # deviations of noise, in units of the logits
Change = Callable[[Logits, np.random.Generator], Logits]
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Damage:
    """One damage: the landmark macro F1 lost on the test part, and how often it is refused.

    `cross_fitted` is the share of rounds in which the gate of the cross-fitted run refused it,
    `validation` that of a gate with `images` test images as its validation part.
    """

    damage: str
    fall: float
    cross_fitted: float
    validation: float
    judged: int
    images: int
    rounds: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Setting:
    run: Run
    judge: Judge
    learned: Logits  # of the int8 network for the images of the judge
    test: Logits  # of the int8 network for the test part
    sound: Logits  # the same without a damage
    float_test: Logits
    rounds: int

    @property
    def validation_images(self) -> int:
        """The images that a validation part of the default share would have."""
        count, share = len(self.run.entries("train")), self.run.recipe.data.val_fraction
        return min(round(count * share), len(self.run.entries("test")))

    def measure(self, name: str, change: Change, *, fixed: bool = False) -> Damage:
        """Plant a damage `rounds` times, or once if it is `fixed`, and ask both gates."""
        rounds, falls, first, second = self.rounds, [], 0, 0
        test_truth = self.run.labels("test")
        for number in range(rounds):
            learned = change(self.learned, np.random.default_rng([number, 1]))
            test = change(self.test, np.random.default_rng([number, 2]))
            falls.append(self.f1(self.sound) - self.f1(test))
            if not fixed or number == 0:
                shifted = self.judge.shifted(learned)
                truth = dict(self.judge.truth)
                refused = self.refused(self.judge.honest, shifted, learned, truth)
            first += refused
            rng = np.random.default_rng([number, 3])
            rows = rng.choice(len(test["landmark"]), self.validation_images, replace=False)
            picked: list[Any] = [
                {head: values[rows] for head, values in logits.items()}
                for logits in (self.float_test, test, test, test_truth)
            ]
            second += self.refused(picked[0], picked[1], picked[2], picked[3])
        return Damage(
            damage=name,
            fall=float(np.mean(falls)),
            cross_fitted=first / rounds,
            validation=second / rounds,
            judged=len(self.judge.places),
            images=self.validation_images,
            rounds=rounds,
        )

    def refused(self, honest: Logits, given: Logits, raw: Logits, truth: Mapping[str, Any]) -> bool:
        """Return the verdict of the gate on logits, `raw` as the file computes them."""
        file, own = ({head: softmax(logits[head]) for head in HEADS} for logits in (given, raw))
        taxonomy = self.run.taxonomy
        comparison = compare_outputs("val", honest, ONES, file, ONES, truth, taxonomy)
        return not gate(comparison, own, Limits()).passed

    def f1(self, logits: Logits) -> float:
        """Return landmark macro F1 on the test part, both heads decoded together."""
        chances = {head: softmax(logits[head]) for head in HEADS}
        scores = score_probabilities(chances, self.run.labels("test"), self.run.taxonomy)
        return scores["landmark"].macro_f1


def nothing(logits: Logits, rng: np.random.Generator) -> Logits:
    """Return the logits as they are."""
    return logits


def swapped_labels(logits: Logits, rng: np.random.Generator) -> Logits:
    """Exchange two landmarks."""
    values = logits["landmark"].copy()
    values[:, [0, 1]] = values[:, [1, 0]]
    return {**logits, "landmark": values}


def constant_head(logits: Logits, rng: np.random.Generator) -> Logits:
    """Give every image the category logits of the first."""
    values = logits["category"]
    return {**logits, "category": np.broadcast_to(values[:1], values.shape).copy()}


def noisy(deviation: float) -> Change:
    """Return a change that adds normal noise to the landmark logits."""

    def change(logits: Logits, rng: np.random.Generator) -> Logits:
        values = logits["landmark"]
        noise = rng.normal(0, deviation, values.shape).astype(np.float32)
        return {**logits, "landmark": values + noise}

    return change


def deviation_for(setting: _Setting, points: float) -> float:
    """Return the deviation of noise that costs about so many points on the test part."""
    before = setting.f1(setting.test)

    def lost(deviation: float) -> float:
        change = noisy(deviation)
        found = [
            before - setting.f1(change(setting.test, np.random.default_rng([number, 2])))
            for number in range(10)
        ]
        return float(np.mean(found))

    return float(min(SWEEP, key=lambda deviation: abs(lost(deviation) - points / 100)))


def wrong_range(run: Run, networks: RunNetworks, share: float, layer: str) -> tuple[Any, Any]:
    """Return the int8 logits, learned and test, with the range of a layer cut to a share."""
    rng = np.random.default_rng([run.seed, 1])
    lowered = lower(networks.network)
    images = calibration_inputs(run, rng)
    chosen = ranges.choose_ranges(lowered, ranges.observe(lowered, images, rng))
    low, high = chosen[layer]
    quantized = quantize(lowered, {**chosen, layer: (low * share, high * share)})
    places = networks.judge.places
    return (
        predict_logits(quantized, judged_images(run, places)),
        predict_logits(quantized, run.images("test")),
    )


@click.command()
@click.argument("run_folder", type=PATH, metavar="RUN")
@click.option("--rounds", type=click.IntRange(1), default=50, show_default=True)
@click.option(
    "--layer",
    "layers",
    multiple=True,
    default=("block2a_activation", "top_activation"),
    show_default=True,
    help="Tensors whose range is cut. Repeatable.",
)
@out_option("gate_damage.csv")
def main(run_folder: Path, rounds: int, layers: tuple[str, ...], out: Path) -> None:
    """Plant damages in the int8 network of RUN and ask the gate."""
    run = Run.open(run_folder)
    if run.plan is None or not run.entries("test"):
        raise DataError(f"{run_folder}: a cross-fitted run with a test part is needed")
    networks = RunNetworks(run, Stages())
    quantized = networks.quantized()
    places = networks.judge.places
    test = predict_logits(quantized, run.images("test"))
    setting = _Setting(
        run=run,
        judge=networks.judge,
        learned=predict_logits(quantized, judged_images(run, places)),
        test=test,
        sound=test,
        float_test=networks.reference("test"),
        rounds=rounds,
    )
    rows = [
        setting.measure("none", nothing, fixed=True),
        setting.measure("two landmarks swapped", swapped_labels, fixed=True),
        setting.measure("constant category head", constant_head, fixed=True),
    ]
    for points in (2.0, 5.0, 10.0):
        deviation = deviation_for(setting, points)
        name = f"noise of {deviation:.1f} in the landmark logits, about {points:g} points"
        rows.append(setting.measure(name, noisy(deviation)))
    for layer in layers:
        for share in (0.5, 0.2):
            learned, test = wrong_range(run, networks, share, layer)
            damaged = dataclasses.replace(setting, learned=learned, test=test)
            name = f"range of {layer} cut to {share:g}"
            rows.append(damaged.measure(name, nothing, fixed=True))
    for row in rows:
        click.echo(
            f"{row.damage}: fall {100 * row.fall:.1f}, refused {row.cross_fitted:.2f} "
            f"cross-fitted, {row.validation:.2f} with {row.images} validation images"
        )
    command = study_command(sys.argv, {run_folder: "RUN"})
    data = f"{len(run.entries('train'))} photographs learned, {len(run.entries('test'))} tested"
    write_csv(out, rows, data=data, command=command)


if __name__ == "__main__":
    run_study(main)
