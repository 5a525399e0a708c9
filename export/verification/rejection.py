"""Outputs of the file for unknown images, to fit and to test thresholds."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lmedge.decoder_noise import counting_decoder_noise
from lmedge.errors import DataError
from lmedge.evaluation.thresholds import UnknownOutputs
from lmedge.image import prepare, read_encoded, read_image
from lmedge.model_file import ModelFile
from lmedge.train.run import Run

from .comparison import run_file

CHUNK = 256  # unknown images in memory at once
LEAST_UNKNOWN = 2  # one to fit with, one to test
logger = logging.getLogger(__name__)


def not_learned(paths: Sequence[Path], run: Run) -> list[Path]:
    """Return the images that the run's own unknown images do not contain, by their bytes.

    Raises DataError if less than LEAST_UNKNOWN are left: those would show nothing new.
    """
    learned = {entry.sha256 for entry in run.unknown}
    left = [path for path in paths if hashlib.sha256(read_encoded(path)).hexdigest() not in learned]
    if len(left) < len(paths):
        logger.info(
            "--unknown: %d images that the run has too are left out", len(paths) - len(left)
        )
    if paths and len(left) < LEAST_UNKNOWN:
        raise DataError(
            f"--unknown: {len(left)} of {len(paths)} images are not among the unknown images of "
            f"{run.folder}; pass others, or leave it out"
        )
    return left


def run_unknown(model: ModelFile, paths: Sequence[Path]) -> UnknownOutputs:
    """Run the file on unknown images. Every second image by name fits, the others test.

    Raises DataError, which names the image, if one cannot be read.
    """
    parts = []
    for start in range(0, len(paths), CHUNK):
        with counting_decoder_noise():
            read = [read_image(path, model.size) for path in paths[start : start + CHUNK]]
        images = np.stack([prepare(image, model.size, model.resize) for image in read])
        parts.append(run_file(model, images))
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return UnknownOutputs(
        fit={name: values[0::2] for name, values in found.items()},
        test={name: values[1::2] for name, values in found.items()},
    )
