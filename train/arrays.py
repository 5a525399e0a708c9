"""Arrays without TensorFlow: named weights in files, and images as network inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from lmedge.errors import DivergedError, RunError
from lmedge.files import replacing
from lmedge.image import PIXEL_MEAN, PIXEL_SCALE
from lmedge.regular import check_regular

from .data.store import PreparedImages

Weights = dict[str, npt.NDArray[Any]]  # by "layer/number"
Floats = npt.NDArray[np.float32]
Images = npt.NDArray[np.uint8] | PreparedImages


def first_not_finite(arrays: Mapping[str, npt.NDArray[Any]]) -> str | None:
    """Return the name of the first array with a value that is not finite, None if there is none."""
    kinds = "fc"  # whole numbers are always finite
    return next(
        (
            name
            for name, value in arrays.items()
            if np.asarray(value).dtype.kind in kinds and not np.isfinite(value).all()
        ),
        None,
    )


def write_arrays(path: Path, arrays: Weights) -> None:
    """Write named arrays in the safetensors format. The file appears whole or not at all.

    Raises:
        DivergedError: if a value is not finite: nothing that is read later begins from it.
        LmedgeError: if the file cannot be written.
    """
    if (name := first_not_finite(arrays)) is not None:
        raise DivergedError(
            f"{path} was not written: {name} is not finite; train with a lower learning rate"
        )
    with replacing(path) as temporary:
        safetensors.numpy.save_file(
            {name: np.asarray(value, order="C") for name, value in arrays.items()}, temporary
        )


def read_arrays(path: Path) -> Weights:
    """Read named arrays.

    Raises:
        RunError: if the file is missing or damaged.
    """
    try:
        check_regular(path)
        return dict(safetensors.numpy.load_file(path))
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def normalise(images: Images) -> Floats:
    """Return (N, S, S, 3) uint8 RGB images as float32 network inputs.

    The unit of the network's input is (pixel - PIXEL_MEAN) / PIXEL_SCALE.
    """
    return (np.asarray(images).astype(np.float32) - PIXEL_MEAN) / PIXEL_SCALE
