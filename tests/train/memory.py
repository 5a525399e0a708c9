"""A training in less memory than its images take, in a process of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests import small_run
from tests.locations import ROOT

FEW = 600
SIDE, SIZE = 24, 64
# Stricter than 2 GiB, so that small images will do: 20,000 of them are 0.98 GB as network inputs,
# and in the cache 0.57 GB.
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
import json, resource, sys
from pathlib import Path
from tests import small_run, tiny_backbone

few, many, out, weights, limit, *settings = sys.argv[1:]

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))

def train(data, folder):
    from lmedge.train import training
    run = small_run.start(Path(data), Path(out) / folder, weights, settings)
    training.train_run(run)

with tiny_backbone.installed():
    train(few, "few")
    before = status("VmSize")
    most = before + int(limit) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    train(many, "many")
grown = status("VmPeak") - before
resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"grown": grown, "resident": resident}))
"""


def write_images(folder: Path, count: int) -> Path:
    """Write PNG files of 8 x 8 fields in random colours around that of the landmark."""
    rng = np.random.default_rng(count)
    for number, (landmark, (category, colour)) in enumerate(small_run.LANDMARKS.items()):
        for index in range(number, count, len(small_run.LANDMARKS)):
            fields = np.clip(rng.normal(colour, 60, (8, 8, 3)), 0, 255).astype(np.uint8)
            image = np.repeat(np.repeat(fields, SIDE // 8, 0), SIDE // 8, 1)
            small_run.save(folder / category / landmark / f"{index:05d}.png", image)
    return folder


@dataclasses.dataclass(frozen=True)
class Taken:
    """Bytes: address space beyond that of a training of FEW images, and resident at the most."""

    grown: int
    resident: int


def train(count: int, weights: Path, folder: Path) -> tuple[Taken | None, str]:
    """Train on FEW images, then on `count` within LIMIT_MB more address space, below `folder`.

    Returns None and what was said where that fails.
    """
    few, many = write_images(folder / "few", FEW), write_images(folder / "many", count)
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            CHILD,
            str(few),
            str(many),
            str(folder / "runs"),
            str(weights),
            str(LIMIT_MB),
            *SETTINGS,
        ],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LMEDGE_CACHE": str(folder / "cache"),
            "LMEDGE_CACHE_GB": str(CACHE_GB),
        },
        timeout=1700,
        check=False,
    )
    if process.returncode:
        return None, process.stderr[-2000:]
    return Taken(**json.loads(process.stdout.splitlines()[-1])), process.stderr
