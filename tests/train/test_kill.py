"""A run killed by the system at random steps, in every phase, ends as an undisturbed one."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from lmedge.train.arrays import read_arrays
from tests import small_run
from tests.train import kills

SEEDS = (1, 2)


@pytest.fixture(scope="module")
def words(tiny_weights: Path, small_photographs: Path) -> list[str]:
    """Return the command line of the run, but for its folder."""
    return kills.words(small_photographs, tiny_weights)


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
    for phase, steps in kills.PHASES.items():
        step = rng.randint(1, steps - 1)
        delay = rng.choice([0.0, rng.uniform(0, 0.05)])
        print(f"kill {1000 * delay:.1f} ms behind step {step} of {phase}")  # noqa: T201  (for a rerun)
        killed = kills.run_and_kill(phase, step, delay, [*words, "--out", str(folder), *resume])
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (folder / "weights.safetensors").exists()
        resume = ["--resume"]
    process = small_run.lmedge(*words, "--out", folder, "--resume")
    assert process.returncode == 0, process.stderr
    assert any("dropout/" in name for name in read_arrays(folder / "weights.safetensors"))
    assert kills.different_weights(folder, undisturbed) == []
    for name in ("metrics.json", "split.csv", "recipe.toml"):
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes(), name
