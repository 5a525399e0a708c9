"""Images of anything but the landmarks: their folder, and how well scores tell them apart."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .layout import UNKNOWN_FOLDER
from .listing import list_images

Values = npt.NDArray[np.floating]


def list_unknown_images(folder: Path, least: int = 1) -> list[Path]:
    """List the images under a folder of anything but the landmarks, in a fixed order.

    Raises:
        DataError: There are fewer than `least` images, or the folder cannot be read.
    """
    if not folder.exists():
        raise DataError(f"{folder}: no such folder; check the name behind --unknown")
    if not folder.is_dir():
        raise DataError(f"{folder}: a file, not a folder; --unknown needs a folder of images")
    found = list_images(folder)
    if len(found) < least:
        raise DataError(
            f"{folder}: holds {len(found)} images; --unknown needs a folder of at least {least}, "
            "of anything but the landmarks"
        )
    return found


def unknown_folder_of(data: Path, given: Path | None) -> Path | None:
    """Return the folder of unknown images: the given one, or UNKNOWN_FOLDER in `data`, or None."""
    own = data / UNKNOWN_FOLDER
    return given if given is not None else (own if own.is_dir() else None)


def threshold_for(known: Values, coverage: float, unknown: Values | None = None) -> float:
    """Return the highest threshold that a share of known images reaches.

    The rank is that of split conformal prediction (Vovk et al. 2005): few images give a low
    threshold, too few to decide give 0. With unknown images the threshold lies half way to the
    highest of their scores below it. Known images gain room then, and no unknown image does.

    Args:
        known: (N,) scores of known images.
        coverage: Share of images like `known` that must reach the threshold, in 0..1.
        unknown: (M,) scores of unknown images, if there are any.
    """
    rank = math.floor((1 - coverage) * (len(known) + 1) + 1e-9)
    highest = float(np.sort(known)[rank - 1]) if rank > 0 else 0.0
    if unknown is None or rank == 0:
        return highest
    below = np.asarray(unknown)[np.asarray(unknown) < highest]
    return highest if not len(below) else (float(below.max()) + highest) / 2


def auroc(known: Values, unknown: Values) -> float:
    """Return the probability that a known image scores above an unknown one; ties count half."""
    ordered = np.sort(unknown)
    below = np.searchsorted(ordered, known, "left") + np.searchsorted(ordered, known, "right")
    return float(below.mean() / (2 * len(ordered)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnknownImages:
    """The separation of `pictures` unknown images from known ones; shares are in 0..1.

    `false_accepts` is the share of unknown images that reach the `threshold`, `kept` the share of
    known images that do. `auroc` is the area under the receiver operating characteristic.
    `unreadable` counts the images that could not be decoded.
    """

    pictures: int
    unreadable: int
    threshold: float
    false_accepts: float
    kept: float
    auroc: float

    @classmethod
    def of(
        cls, known: Values, unknown: Values, threshold: float, unreadable: int = 0
    ) -> UnknownImages:
        """Measure (N,) scores of known and (M,) scores of unknown images; neither is empty."""
        return cls(
            pictures=len(unknown),
            unreadable=unreadable,
            threshold=threshold,
            false_accepts=float((unknown >= threshold).mean()),
            kept=float((known >= threshold).mean()),
            auroc=auroc(known, unknown),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)
