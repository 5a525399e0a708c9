"""A data set larger than the memory allowed for it trains: nothing holds all pictures at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import small_run

ROOT = Path(__file__).parents[2]
PICTURES, SIDE, SIZE = 20_000, 24, 64
# Stricter than 2 GiB, so that small pictures will do: as network inputs they are 0.98 GB, in the
# cache 0.57 GB.
LIMIT_MB = 512
CACHE_GB = 0.2
SETTINGS = (
    f"data.image_size={SIZE}",
    "data.val_fraction=0.1",
    "data.test_fraction=0.1",
    "augment.copies=[]",
    "head.views=0",
    "head.epochs=1",
    "head.batch=256",
    "second_head.views=0",
    "second_head.epochs=1",
    "second_head.batch=256",
    "fine_tune.start=top",
    "fine_tune.epochs=1",
    "fine_tune.batch=64",
)
# A small training first: what TensorFlow and Python map once is not the data's.
CHILD = """
import resource, sys
from pathlib import Path
from tests import small_run, tiny_backbone

few, many, out, weights, limit, *settings = sys.argv[1:]

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))

def train(data, folder):
    from lmedge.train import training
    run = small_run.start(Path(data), Path(out) / folder, weights, settings)
    training.train(run)

with tiny_backbone.installed():
    train(few, "few")
    before = status("VmSize")
    most = before + int(limit) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    train(many, "many")
print("grown by", (status("VmPeak") - before) / 2**20, "MiB")
"""


def write_pictures(folder: Path, count: int) -> Path:
    """Write PNG files of 8 x 8 fields in random colours around that of the landmark."""
    rng = np.random.default_rng(count)
    for number, (landmark, (category, colour)) in enumerate(small_run.LANDMARKS.items()):
        for index in range(number, count, len(small_run.LANDMARKS)):
            fields = np.clip(rng.normal(colour, 60, (8, 8, 3)), 0, 255).astype(np.uint8)
            picture = np.repeat(np.repeat(fields, SIDE // 8, 0), SIDE // 8, 1)
            small_run.save(folder / category / landmark / f"{index:05d}.png", picture)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_twenty_thousand_pictures_in_little_memory(tiny_weights: Path, tmp_path: Path) -> None:
    few = write_pictures(tmp_path / "few", 600)
    many = write_pictures(tmp_path / "many", PICTURES)
    process = subprocess.run(
        [
            sys.executable, "-c", CHILD, str(few), str(many), str(tmp_path / "runs"),
            str(tiny_weights), str(LIMIT_MB), *SETTINGS,
        ],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LMEDGE_CACHE": str(tmp_path / "cache"),
            "LMEDGE_CACHE_GB": str(CACHE_GB),
        },
        timeout=1700,
        check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-2000:]
    sys.stdout.write(process.stdout)
    assert (tmp_path / "runs" / "many" / "weights.safetensors").exists()
    cached = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert 0 < sum(file.stat().st_size for file in cached) <= CACHE_GB * 2**30
