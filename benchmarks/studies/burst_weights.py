"""The weight of the frames of a burst in a lesson: macro F1 on photographs kept aside.

    python -m benchmarks.studies.burst_weights DATA --out burst_weights.csv

In some landmarks a photograph becomes a burst of a moving camera: frames that are moved, turned,
enlarged, darker or lighter, with noise. It stands beside some other photographs. A frame of a burst
of n weighs n to the power of -1 (the burst as one), of -0.5, or of 0 (as a photograph). That is
tried for the regression with the deviations of the features, and for the loss that chooses
regularisation and temperature.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import cv2
import numpy as np
import numpy.typing as npt

from lmedge.evaluation.folders import scan
from lmedge.evaluation.metrics import macro_f1
from lmedge.evaluation.temperature import fit_temperature, smoothed_loss
from lmedge.image import read_image
from lmedge.report.csv_files import study_command, write_csv
from lmedge.teach.backbone import FeatureReader
from lmedge.teach.base import Base
from lmedge.teach.features import FLOOR, alike, bursts, unit
from lmedge.teach.fitting import SHARES, SHARPNESS

from .common import PATH, out_option, run_study

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
SOURCES = 2  # photographs of a landmark that can become a burst
FRAMES = 30
POWERS = (0.0, 0.5, 1.0)
# Frames of a burst, photographs beside it (None for all), share of the landmarks that have one
CASES = ((30, 2, 0.2), (30, 5, 0.2), (30, None, 0.2), (10, 2, 1.0), (10, None, 1.0))
NORMAL = 1.96


@dataclasses.dataclass(frozen=True, kw_only=True)
class BurstRow:
    """One pair of weights; means over draws.

    `fit` and `choice` are powers of the size of a burst; `lmedge teach` has 0 and -1. `difference`
    of landmark F1, and its 95 % interval from `low` to `high`, are those to frames that weigh as
    photographs in both.
    """

    frames: int
    beside: str
    landmarks_with: float
    fit: float
    choice: float
    draws: int
    landmark_f1: float
    difference: float
    low: float
    high: float
    log_loss: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """Features of photographs, (N, F), and of the bursts of some of them, (FRAMES, F) each."""

    rows: npt.NDArray[np.float32]
    truth: Places
    bursts: dict[int, npt.NDArray[np.float32]]


def moved(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return a frame of a camera that moves a little before the scene of an image."""
    height, width = image.shape[:2]
    size = rng.uniform(0.8, 1.0)
    off = rng.uniform(-0.5, 0.5, 2) * (1 - size) * np.array([width, height])
    turn = cv2.getRotationMatrix2D(
        (width / 2 + off[0], height / 2 + off[1]), rng.uniform(-4, 4), 1 / size
    )
    turn[:, 2] -= off
    found = cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    noisy = found * rng.uniform(0.85, 1.15) + rng.normal(0, 4, found.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def read(data: Path, base: Base) -> Found:
    """Read the features of a folder, and of bursts of some of its photographs."""
    rng, reader = np.random.default_rng(0), FeatureReader(base.backbone)
    images = scan(data)
    names = sorted({image.landmark for image in images})
    truth = np.array([names.index(image.landmark) for image in images])
    sources = {
        int(place)
        for number in range(len(names))
        for place in rng.permutation(np.flatnonzero(truth == number))[:SOURCES]
    }
    rows, taken = [], {}
    for place, one in enumerate(images):
        image = read_image(one.path, base.backbone.size)
        rows.append(reader.read(image))
        if place in sources:
            frames = [reader.read(moved(image, rng)) for _ in range(FRAMES)]
            taken[place] = unit(np.stack(frames), base.backbone.zero)
    return Found(rows=unit(np.stack(rows), base.backbone.zero), truth=truth, bursts=taken)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draw:
    """What is learned, with its groups, and the places of what is tested."""

    rows: npt.NDArray[np.float32]
    truth: Places
    groups: Sequence[Places]
    tested: Places


def deal(found: Found, case: tuple[int, int | None, float], seed: int) -> Draw:
    """Deal the photographs out; a third is tested, like ones on one side."""
    frames, beside, share = case
    rng, count = np.random.default_rng(seed), int(found.truth.max()) + 1
    having = set(rng.permutation(count)[: round(share * count)].tolist())
    group = _numbers(bursts(found.truth, alike(found.rows)))
    rows: list[npt.NDArray[np.float32]] = []
    truth, tied, tested = [], [], []
    for number in range(count):
        own = rng.permutation(np.flatnonzero(found.truth == number))
        source = next(int(place) for place in own if int(place) in found.bursts)
        others = [int(place) for place in own if group[place] != group[source]]
        test = others[: max(1, len(own) // 3)]
        tested += test
        kept = [at for at in others if group[at] not in {int(group[one]) for one in test}]
        taken = [found.rows[at] for at in kept[:beside]]
        first = len(rows) + len(taken)
        burst = found.bursts[source][:frames] if number in having else found.rows[[source]]
        tied += [(first, first + at) for at in range(1, len(burst))]
        rows += [*taken, *burst]
        truth += [number] * (len(taken) + len(burst))
    whole, classes = np.stack(rows), np.array(truth)
    groups = bursts(classes, [*alike(whole), *tied])
    return Draw(rows=whole, truth=classes, groups=groups, tested=np.array(tested))


def _numbers(groups: Sequence[Places]) -> Places:
    found = np.empty(sum(map(len, groups)), np.intp)
    for number, group in enumerate(groups):
        found[group] = number
    return found


class WeightedRidge:
    """The closed form of `lmedge.teach.fitting` with weights of photographs."""

    def __init__(self, draw: Draw, weights: Floats) -> None:
        """Take the weights, (N,); every landmark counts as much as any other."""
        self.truth, self._groups = draw.truth, draw.groups
        count = int(draw.truth.max()) + 1
        totals = np.bincount(draw.truth, weights=weights)
        self.deviation = _deviations(draw, weights / totals[draw.truth])
        rows = draw.rows / self.deviation
        self._weights = weights / (totals[draw.truth] * count)
        self._targets = np.eye(count)[draw.truth]
        self._mean, self._centre = self._weights @ self._targets, self._weights @ rows
        axes, turned = np.linalg.qr((rows - self._centre).T)
        values, vectors = np.linalg.eigh((turned * self._weights) @ turned.T)
        self._axes, self._places = axes @ vectors, turned.T @ vectors
        self._values = np.maximum(values, 0.0)
        off = (self._targets - self._mean) * self._weights[:, None]
        self._right = self._places.T @ off

    def _factors(self, share: float) -> Floats:
        return np.asarray(1 / (self._values + share * self._values.sum()))

    def answers(self, share: float, rows: npt.NDArray[np.float32]) -> Floats:
        """Return the values, (M, L), for other rows."""
        kernel = self._axes @ (self._factors(share)[:, None] * self._right)
        return np.asarray((rows / self.deviation - self._centre) @ kernel + self._mean)

    def left_out(self, share: float) -> Floats:
        """Return the values, (N, L), of regressions without the group of each row."""
        factors = self._factors(share)
        leverages = 1 + (self._places * factors) @ self._places.T
        fitted = self._mean + self._places @ (factors[:, None] * self._right)
        found = np.empty_like(self._targets)
        for group in self._groups:
            members = np.flatnonzero(self.truth == self.truth[group[0]])
            inside, weights = np.isin(members, group), self._weights[members]
            rest = weights[~inside].sum()
            change = -weights
            if rest > 0:  # the rest keeps the weight of the whole landmark
                change = np.where(inside, -weights, weights * (weights.sum() / rest - 1))
            system = np.eye(len(members)) + leverages[np.ix_(members, members)] * change
            left = np.linalg.solve(system, (self._targets - fitted)[members])
            found[members[inside]] = self._targets[members[inside]] - left[inside]
        return found


def _deviations(draw: Draw, weights: Floats) -> Floats:
    """Return the deviations within a landmark, (F,), as `lmedge.teach.features.deviations`."""
    total, count = np.zeros(draw.rows.shape[1]), 0
    for number in range(int(draw.truth.max()) + 1):
        own, weight = draw.rows[draw.truth == number], weights[draw.truth == number]
        if len(own) > 1:
            spread = weight @ np.square(own - weight @ own)
            total += spread / (1 - np.square(weight).sum())
            count += 1
    found = np.sqrt(total / max(count, 1))
    return np.asarray(found + FLOOR * found.mean())


def scored(found: Found, draw: Draw) -> Iterator[tuple[float, float]]:
    """Yield landmark F1 and log loss of tested photographs, for each pair of POWERS."""
    size = np.concatenate([np.full(len(group), len(group)) for group in draw.groups])
    size = size[np.argsort(np.concatenate(draw.groups))].astype(np.float64)
    counts = np.bincount(draw.truth)
    judged = size < counts[draw.truth]
    asked, truth = found.rows[draw.tested], found.truth[draw.tested]
    for power in POWERS:
        ridge = WeightedRidge(draw, size**-power)
        left = [SHARPNESS * ridge.left_out(share)[judged] for share in SHARES]
        own = draw.truth[judged]
        for choice in POWERS:
            weights = size[judged] ** -choice
            heats = [fit_temperature(values, own, weights) for values in left]
            losses = [
                smoothed_loss(values, own, weights)(heat)
                for values, heat in zip(left, heats, strict=True)
            ]
            best = int(np.argmin(losses))
            values = SHARPNESS * ridge.answers(SHARES[best], asked)
            f1 = macro_f1(truth, values.argmax(axis=1), len(counts))
            yield f1, float(_losses(values / heats[best], truth).mean())


def _losses(logits: Floats, truth: Places) -> Floats:
    most = logits.max(axis=1, keepdims=True)
    total = most[:, 0] + np.log(np.exp(logits - most).sum(axis=1))
    return np.asarray(total - logits[np.arange(len(truth)), truth])


def rows_of(found: Found, case: tuple[int, int | None, float], draws: int) -> Iterator[BurstRow]:
    """Yield the rows of one case."""
    every = np.array([list(scored(found, deal(found, case, seed))) for seed in range(draws)])
    for at, (fit, choice) in enumerate(itertools.product(POWERS, POWERS)):
        apart = every[:, at, 0] - every[:, 0, 0]
        margin = NORMAL * float(apart.std(ddof=1)) / draws**0.5
        yield BurstRow(
            frames=case[0],
            beside="all" if case[1] is None else str(case[1]),
            landmarks_with=case[2],
            fit=0.0 - fit,
            choice=0.0 - choice,
            draws=draws,
            landmark_f1=round(float(every[:, at, 0].mean()), 4),
            difference=round(float(apart.mean()), 4),
            low=round(float(apart.mean()) - margin, 4),
            high=round(float(apart.mean()) + margin, 4),
            log_loss=round(float(every[:, at, 1].mean()), 4),
        )


@click.command()
@click.argument("data", type=PATH)
@click.option("--base", type=PATH, help="A file for its backbone.  [default: the shipped base]")
@click.option("--draws", type=click.IntRange(2), default=10, show_default=True)
@out_option("burst_weights.csv")
def main(data: Path, base: Path | None, draws: int, out: Path) -> None:
    """Measure the weights of the frames of a burst on the photographs of DATA."""
    found, rows = read(data, Base.open(base)), []
    for case in CASES:
        for row in rows_of(found, case, draws):
            rows.append(row)
            click.echo(str(row))
    replaced = {data: f"DATA/{data.name}", **({} if base is None else {base: "FILE"})}
    write_csv(out, rows, data=data.name, command=study_command(sys.argv, replaced))


if __name__ == "__main__":
    run_study(main)
