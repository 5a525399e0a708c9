"""Photographs as the network gets them: what runtimes are held against each other on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmedge.dataset_folder import list_pictures
from lmedge.errors import DataError
from lmedge.image import prepare, read_picture
from lmedge.model_file import ModelFile


def some_pictures(data: Path, model: ModelFile, count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return up to `count` pictures of a folder, shuffled, (N, S, S, 3) uint8 RGB.

    At the input's size: clients that resize by themselves then have nothing to do. Raises DataError
    when there are none, or one cannot be read.
    """
    paths = list_pictures(data)
    if not paths:
        raise DataError(f"{data}: holds no pictures")
    drawn = np.random.default_rng(seed).permutation(len(paths))[:count].tolist()
    return np.stack(
        [
            prepare(read_picture(paths[number], model.size), model.size, model.resize)
            for number in drawn
        ]
    )
