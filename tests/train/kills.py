"""Trainings whose process is killed by the system at a step of a phase."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from lmedge.train.arrays import read_arrays
from tests import small_run
from tests.locations import ROOT

SETTINGS = (
    "strategy.phase2=distil",
    "network.head_layers=[16, 8]",
    "network.dropout=[0.2, 0.1]",
    "head.epochs=4",
    "second_head.epochs=4",
)
# Steps of each phase: 4 epochs of 48 copies in batches of 16, 3 epochs of 24 images in 8.
PHASES = {
    "landmark-head": 12,
    "landmark-fine-tuning": 9,
    "category-head": 12,
    "category-fine-tuning-distilled": 9,
}
# Kills its own process with the signal nothing can catch, a moment behind a step of a phase: in
# the next step, in the validation, or while files are written.
KILLER = """
import os, signal, sys, threading
from lmedge.train.fitting import phase as fitting
from lmedge.cli import main
from tests import tiny_backbone

phase, step, delay = {phase!r}, {step}, {delay}
whole, steps = fitting.LossWatch.on_train_batch_end, []
epoch = fitting._epoch

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def counting(asked, *others):
    fitting.LossWatch.in_phase = asked.phase == phase
    return epoch(asked, *others)

def dying(self, batch, logs=None):
    whole(self, batch, logs)
    if self.in_phase:
        steps.append(batch)
        if len(steps) == step:
            threading.Timer(delay, kill).start() if delay else kill()

fitting._epoch, fitting.LossWatch.on_train_batch_end = counting, dying
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


def words(photographs: Path, weights: Path) -> list[str]:
    """Return the command line of the run that is killed, but for its folder."""
    return [
        "train",
        str(photographs),
        "--weights",
        str(weights),
        "--seed",
        "5",
        *small_run.options(*SETTINGS),
    ]


def different_weights(folder: Path, other: Path) -> list[str]:
    """Return the names of the weights that two finished runs do not share to the last bit."""
    ours, theirs = (read_arrays(run / "weights.safetensors") for run in (folder, other))
    return [
        name
        for name in sorted(ours.keys() | theirs.keys())
        if name not in ours or name not in theirs or not np.array_equal(ours[name], theirs[name])
    ]
