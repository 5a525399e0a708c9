"""Images as the network gets them, for the comparison of runtimes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmedge.errors import DataError
from lmedge.evaluation.folders import list_images
from lmedge.image import prepare, read_image
from lmedge.model_file import ModelFile


def some_images(data: Path, model: ModelFile, count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return up to `count` images of a folder, shuffled, (N, S, S, 3) uint8 RGB.

    At the input's size: clients that resize by themselves then have nothing to do. Raises DataError
    when there are none, or one cannot be read.
    """
    paths = list_images(data)
    if not paths:
        raise DataError(f"{data}: no images there; name another folder")
    drawn = np.random.default_rng(seed).permutation(len(paths))[:count].tolist()
    return np.stack(
        [
            prepare(read_image(paths[number], model.size), model.size, model.resize)
            for number in drawn
        ]
    )
