"""Photographs and a recipe so small that a whole train and export takes seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tests import tiny_backbone
from tests.locations import ROOT

if TYPE_CHECKING:
    from lmedge.train.recipes import Recipe
    from lmedge.train.run import Run

SIZE = 32
# landmark -> (category, colour); a landmark and a category share a name.
LANDMARKS: Mapping[str, tuple[str, tuple[int, int, int]]] = {
    "Große Brücke": ("bridges", (40, 60, 200)),
    "old bridge": ("bridges", (40, 200, 60)),
    "tower": ("tower", (200, 50, 40)),
    "white tower": ("tower", (220, 220, 210)),
}
SETTINGS = (
    f"data.image_size={SIZE}",
    "data.folds=0",
    "data.val_fraction=0.25",
    "data.test_fraction=0.25",
    f"network.backbone={tiny_backbone.NAME}",
    "head.optimizer=adamw",
    "head.epochs=8",
    "head.batch=16",
    "head.learning_rate=0.05",
    "head.views=1",
    "second_head.optimizer=adamw",
    "second_head.epochs=8",
    "second_head.batch=16",
    "second_head.learning_rate=0.05",
    "second_head.views=1",
    "fine_tune.start=block2",
    "fine_tune.epochs=3",
    "fine_tune.batch=8",
    "fine_tune.learning_rate=0.005",
    "quantize.calibration_pictures=16",
    "quantize.epochs=1",
)

# Beside SETTINGS, for a run that learns from every photograph
CROSS_FITTED = ("data.folds=3", "data.val_fraction=0.15", "data.test_fraction=0.2")


def draw(colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (48, 60)) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB: clouds of their own for each seed, in a tint of `colour`."""
    rng = np.random.default_rng(seed)
    clouds = cv2.resize(rng.normal(0, 1, (6, 8, 3)).astype(np.float32), size[::-1])
    tint = np.array(colour, np.float32) + rng.normal(0, 12, 3)
    return np.clip(tint + 22 * clouds, 0, 255).astype(np.uint8)


def save(path: Path, image: np.ndarray, quality: int = 95) -> Path:
    """Write (H, W, 3) uint8 RGB as an image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # imwrite cannot name every path on every system; bytes can
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix == ".jpg" else []
    done, encoded = cv2.imencode(path.suffix, image[..., ::-1], options)
    assert done
    path.write_bytes(encoded.tobytes())
    return path


def write_photographs(
    folder: Path,
    count: int = 12,
    *,
    landmarks: Mapping[str, tuple[str, tuple[int, int, int]]] = LANDMARKS,
    seed: int = 0,
) -> Path:
    """Write `count` photographs of each landmark to <category>/<landmark>/."""
    for number, (landmark, (category, colour)) in enumerate(landmarks.items()):
        for index in range(count):
            image = draw(colour, 1_000_000 * seed + 1000 * number + index)
            save(folder / category / landmark / f"an image {index:02d}.jpg", image)
    return folder


def recipe(*settings: str) -> Recipe:
    """Return the small recipe with some values changed."""
    from lmedge.train.recipes import load_recipe

    return load_recipe("default", [*SETTINGS, *settings])


def start(
    data: Path,
    out: Path,
    weights: Path | str,
    settings: Sequence[str] = (),
    seed: int = 0,
    strategy: str = "landmarks-first",
) -> Run:
    """Begin a run, as `lmedge train` does."""
    from lmedge.train import training
    from lmedge.train.options import TrainingOptions

    return training.start(
        TrainingOptions(
            data=data,
            out=out,
            recipe=recipe(*settings),
            strategy=strategy,
            weights=str(weights),
            seed=seed,
        )
    )


def make_all(folder: Path) -> None:
    """Write photographs, stock weights, a finished run and a cross-fitted one into `folder`."""
    from lmedge.train import training

    photographs = write_photographs(folder / "photographs")
    with tiny_backbone.installed(), own_cache(folder / "cache"):
        weights = tiny_backbone.save_stock_weights(folder / "tiny.h5")
        training.train_run(start(photographs, folder / "run", weights))
        training.train_run(start(photographs, folder / "cross-fitted", weights, CROSS_FITTED))
    shutil.rmtree(folder / "cache")


@contextmanager
def own_cache(folder: Path) -> Iterator[None]:
    """Keep decoded images in `folder` meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMEDGE_CACHE", str(folder))
        yield


def command(*arguments: object) -> list[str]:
    """Return the words that run `lmedge` with the tiny backbone in a process of its own."""
    code = (
        "from tests import tiny_backbone; from lmedge.cli import main\n"
        "with tiny_backbone.installed(): main()"
    )
    return [sys.executable, "-c", code, *map(str, arguments)]


def lmedge(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `lmedge` with the tiny backbone and return what it printed."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=300,
        check=False,
    )


def options(*settings: str) -> list[str]:
    """Return the small recipe as options of `lmedge train`."""
    return [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]
