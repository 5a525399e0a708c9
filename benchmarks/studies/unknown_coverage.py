"""Scores that could be the output `known`, with and without unknown images to learn from.

    python -m benchmarks.studies.unknown_coverage RUN=NEAR... --other DIR --out unknown_coverage.csv

NEAR is a folder of other landmarks, in folders of their names. Those that the run knows are left
out, and those that --ignore names. For the rows "exposed", half of its landmarks and half of DIR
are learned, and the other halves are tested; the table has the mean of SEEDS such halves. The rows
"none" are of the same tested halves. All is of the float network. Features are kept in the cache.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from lmedge.errors import DataError
from lmedge.evaluation.unknown import auroc, list_unknown_images, threshold_for
from lmedge.model_file import HEADS
from lmedge.report.csv_files import study_command, write_csv
from lmedge.train.run import Run

from .common import PATH, out_option, run_study
from .unknown_candidates import (
    Group,
    Measured,
    landmark_images,
    scores_with,
    scores_without,
)

Values = npt.NDArray[np.float64]
COVERAGE = 0.95
SEEDS = 5
RESAMPLES = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoverageRow:
    """One score of one network, shares in per cent.

    `near` and `other` are accepted at the threshold that 95 % of the validation and test images
    reach; `near_low` and `near_high` are the 95 % interval over landmarks drawn with replacement.
    `kept` is the share of the test images that reach the threshold that the validation part alone
    chooses, and `near_by_val` what it accepts.
    """

    network: str
    exposed: str
    score: str
    auroc: float
    near: float
    near_low: float
    near_high: float
    other: float
    kept: float
    near_by_val: float


def measure(name: str, m: Measured) -> list[CoverageRow]:
    """Return a row for each score of one network."""
    near, other = m.groups["near"], m.groups["other"]
    half = np.arange(len(other.label)) % 2 == 0
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    without = scores_without(m)
    names = np.unique(near.label)
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        learned = np.isin(near.label, rng.permutation(names)[: len(names) // 2])
        tested, others = near.only(~learned), other.only(~half)
        exposures = {
            "landmarks": near.only(learned),
            "other things": other.only(half),
            "both": _joined(near.only(learned), other.only(half)),
        }
        for (exposed, score), function in {
            **{("none", score): function for score, function in without.items()},
            **{
                (exposed, score): function
                for exposed, group in exposures.items()
                for score, function in scores_with(m, group).items()
            },
        }.items():
            one = _judged(m, function, tested, others, rng)
            found.setdefault((exposed, score), []).append(one)
    return [_row(name, *key, np.mean(rows, axis=0)) for key, rows in found.items()]


def _joined(a: Group, b: Group) -> Group:
    logits = {head: np.concatenate([a.logits[head], b.logits[head]]) for head in HEADS}
    return Group(np.concatenate([a.raw, b.raw]), logits, np.concatenate([a.label, b.label]))


def _judged(
    m: Measured,
    function: Callable[[Group], Values],
    near: Group,
    other: Group,
    rng: np.random.Generator,
) -> tuple[float, ...]:
    val, test = function(m.groups["val"]), function(m.groups["test"])
    known, scores = np.concatenate([val, test]), function(near)
    # threshold_for takes 0 for a threshold that nothing fails
    shift = min(known.min(), scores.min()) - 1
    passed = scores >= np.quantile(known, 1 - COVERAGE)
    least = threshold_for(val - shift, COVERAGE) + shift
    by_name = [passed[near.label == one] for one in np.unique(near.label)]
    drawn = [
        np.concatenate([by_name[i] for i in rng.integers(0, len(by_name), len(by_name))]).mean()
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    accepted = (function(other) >= np.quantile(known, 1 - COVERAGE)).mean()
    shares = (passed.mean(), low, high, accepted, (test >= least).mean(), (scores >= least).mean())
    return (auroc(known, scores), *(100 * float(share) for share in shares))


def _row(name: str, exposed: str, score: str, mean: Values) -> CoverageRow:
    area, *shares = mean.tolist()
    near, low, high, other, kept, by_val = (round(share, 1) for share in shares)
    return CoverageRow(
        network=name,
        exposed=exposed,
        score=score,
        auroc=round(area, 4),
        near=near,
        near_low=low,
        near_high=high,
        other=other,
        kept=kept,
        near_by_val=by_val,
    )


@click.command()
@click.argument("pairs", nargs=-1, required=True, metavar="RUN=NEAR...")
@click.option("--other", type=PATH, required=True, help="Images of anything else.")
@click.option("--ignore", multiple=True, metavar="FOLDER", help="A landmark under another name.")
@click.option("--each", default=20, show_default=True, help="Images of each landmark of NEAR.")
@out_option("unknown_coverage.csv")
def main(
    pairs: tuple[str, ...], other: Path, ignore: tuple[str, ...], each: int, out: Path
) -> None:
    """Compare scores on the unknown landmarks of NEAR, for each RUN."""
    rows: list[CoverageRow] = []
    data = []
    others = list_unknown_images(other)
    for pair in pairs:
        word, _, folder = pair.partition("=")
        if not folder:
            raise DataError(f"a run and its folder are given as RUN=NEAR, not {pair!r}")
        run = Run.open(Path(word))
        near = landmark_images(Path(folder), {*run.taxonomy.landmarks, *ignore}, each)
        name = f"{Path(run.data).name}, {len(run.entries('train'))} images learned"
        data.append(f"{name}: {len(near)} images of landmarks that it does not know")
        rows += measure(name, Measured.of(run, near, others))
        click.echo(f"{name}: done")
    stand_ins = {Path(pair): "RUN=NEAR" for pair in pairs} | {other: "DIR"}
    command = study_command(sys.argv, stand_ins)
    write_csv(out, rows, data=f"{'; '.join(data)}; {len(others)} of other things", command=command)


if __name__ == "__main__":
    run_study(main)
