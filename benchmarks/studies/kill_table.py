"""Comparison of trainings that were killed and resumed with an undisturbed one.

python -m benchmarks.studies.kill_table --out benchmarks/results/resume.csv
"""

from __future__ import annotations

import dataclasses
import random
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from lmedge.report.csv_files import write_csv
from tests import small_run, tiny_backbone
from tests.train import kills

from .common import out_option, run_study

KEPT = ("metrics.json", "split.csv", "recipe.toml")  # as bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One kill: `milliseconds` behind step `step` of a phase, and the result of `--resume`.

    `different` counts weights that are not the same to the last bit, and files that are not.
    """

    phase: str
    step: int
    steps: int
    milliseconds: float
    killed: bool
    resumed: bool
    different: int


def points(times: int, seed: int) -> Iterator[tuple[str, int, float]]:
    """Return `times` kill points of each phase: phase, step from 1, delay in seconds."""
    rng = random.Random(seed)
    for phase, steps in kills.PHASES.items():
        for _ in range(times):
            yield phase, rng.randint(1, steps - 1), rng.choice([0.0, rng.uniform(0, 0.05)])


def measure(times: int, seed: int, folder: Path) -> Iterator[Row]:
    """Train once undisturbed, then once for each kill point, below an empty `folder`."""
    with tiny_backbone.installed():
        weights = tiny_backbone.save_stock_weights(folder / "tiny.h5")
    words = kills.words(small_run.write_photographs(folder / "photographs"), weights)
    whole = folder / "whole"
    done = small_run.lmedge(*words, "--out", whole)
    if done.returncode:
        raise click.ClickException(done.stderr)
    for number, (phase, step, delay) in enumerate(points(times, seed)):
        run = folder / str(number)
        killed = kills.run_and_kill(phase, step, delay, [*words, "--out", str(run)])
        resumed = small_run.lmedge(*words, "--out", run, "--resume")
        different = -1
        if not resumed.returncode:
            files = [name for name in KEPT if _bytes(run / name) != _bytes(whole / name)]
            different = len(kills.different_weights(run, whole)) + len(files)
        yield Row(
            phase=phase,
            step=step,
            steps=kills.PHASES[phase],
            milliseconds=round(1000 * delay, 1),
            killed=killed.returncode == -signal.SIGKILL,
            resumed=not resumed.returncode,
            different=different,
        )


def _bytes(path: Path) -> bytes:
    return path.read_bytes()


@click.command()
@click.option(
    "--times",
    default=4,
    show_default=True,
    type=click.IntRange(1),
    help="Kill points of each phase.",
)
@click.option("--seed", default=0, show_default=True)
@out_option()
def main(times: int, seed: int, out: Path) -> None:
    """Kill trainings and write what became of each; exit code 1 when anything differs."""
    with (
        tempfile.TemporaryDirectory() as folder,
        small_run.own_cache(Path(folder) / "cache"),
    ):
        rows = list(measure(times, seed, Path(folder)))
    data = "48 drawings, a tiny backbone, landmarks-first with phase2 = distil"
    write_csv(out, rows, data=data)
    raise SystemExit(any(not row.killed or not row.resumed or row.different for row in rows))


if __name__ == "__main__":
    run_study(main)
