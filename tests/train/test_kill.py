"""A run killed by the system at random steps, in every phase, ends as an undisturbed one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lmedge.train.run import read_arrays
from tests import small_run

ROOT = Path(__file__).parents[2]


SETTINGS = (
    "strategy.phase2=distil",
    "network.head_layers=[16, 8]",
    "network.dropout=[0.2, 0.1]",
    "head.epochs=4",
    "second_head.epochs=4",
)
# Steps of each phase: 4 epochs of 48 copies in batches of 16, 3 epochs of 24 pictures in 8.
PHASES = {
    "landmark-head": 12,
    "landmark-fine-tuning": 9,
    "category-head": 12,
    "category-fine-tuning-distilled": 9,
}
SEEDS = (1, 2)
# Kills its own process with the signal nothing can catch, a moment behind a step of a phase: in
# the next step, in the validation, or while files are written.
KILLER = """
import os, signal, sys, threading
from lmedge.train import fit as fitting
from lmedge.cli import main
from tests import tiny_backbone

phase, step, delay = {phase!r}, {step}, {delay}
whole, steps = fitting._Counter.on_train_batch_end, []
epoch = fitting._epoch

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def counting(run, asked, *others):
    fitting._Counter.in_phase = asked.phase == phase
    return epoch(run, asked, *others)

def dying(self, batch, logs=None):
    whole(self, batch, logs)
    if self.in_phase:
        steps.append(batch)
        if len(steps) == step:
            threading.Timer(delay, kill).start() if delay else kill()

fitting._epoch, fitting._Counter.on_train_batch_end = counting, dying
with tiny_backbone.installed():
    main()
"""


def run_and_kill(
    phase: str, step: int, delay: float, arguments: list[str]
) -> subprocess.CompletedProcess[str]:
    """Run `lmedge`; the process dies `delay` seconds behind step `step`, from 1, of a phase."""
    code = KILLER.format(phase=phase, step=step, delay=delay)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def words(tiny_weights: Path, small_photographs: Path) -> list[str]:
    """Return the command line of the run, but for its folder."""
    return [
        "train", str(small_photographs), "--weights", str(tiny_weights), "--seed", "5",
        *small_run.options(*SETTINGS),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    process = small_run.lmedge(*words, "--out", folder)
    assert process.returncode == 0, process.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_killed_in_every_phase_it_ends_with_the_same_weights(
    seed: int, words: list[str], undisturbed: Path, tmp_path: Path
) -> None:
    rng, folder, resume = random.Random(seed), tmp_path / "run", []
    for phase, steps in PHASES.items():
        step = rng.randint(1, steps - 1)
        delay = rng.choice([0.0, rng.uniform(0, 0.05)])
        print(f"kill {1000 * delay:.1f} ms behind step {step} of {phase}")  # noqa: T201  (for a rerun)
        killed = run_and_kill(phase, step, delay, [*words, "--out", str(folder), *resume])
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (folder / "weights.safetensors").exists()
        resume = ["--resume"]
    process = small_run.lmedge(*words, "--out", folder, "--resume")
    assert process.returncode == 0, process.stderr
    ours, theirs = (read_arrays(run / "weights.safetensors") for run in (folder, undisturbed))
    assert ours.keys() == theirs.keys()
    assert any("dropout/" in name for name in ours)
    for name, value in ours.items():
        assert np.array_equal(value, theirs[name]), name
    for name in ("metrics.json", "split.csv", "recipe.toml"):
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes(), name
