"""The choice of who predicts the images: folds of the training part, or images held back.

With few images every one should be learned from, and every one should be predicted by a network
that has not seen it. Cross-fitting does both: the images are dealt into folds, a network for each
fold learns from the other folds and predicts this one, and the network that ships learns from all.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lmedge.errors import RunError

from ..recipes.sections import DataSettings
from .store import ImageEntry

logger = logging.getLogger(__name__)
NEVER = -1  # the fold of an image that every network learns from: it has nothing like it
_COLUMNS = ("sha256", "fold")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoldPlan:
    """The fold of each training image, and the number of folds that are predicted.

    Attributes:
        assigned: by training image, in the order of the split: 0 to folds - 1, or NEVER.
        folds: the number of folds.
        networks: the folds 0 to networks - 1 are predicted, each by a network of its own.
    """

    assigned: tuple[int, ...]
    folds: int
    networks: int

    def __post_init__(self) -> None:
        inside = all(NEVER <= fold < self.folds for fold in self.assigned)
        if not (1 <= self.networks <= self.folds and inside):
            raise RunError("the folds are not those of a run")

    @property
    def measured(self) -> npt.NDArray[np.intp]:
        """The indices of the images that a network predicts that has not seen them."""
        fold = np.asarray(self.assigned)
        return np.flatnonzero((fold >= 0) & (fold < self.networks))

    @property
    def fold(self) -> npt.NDArray[np.int64]:
        """The fold of each training image, (N,)."""
        return np.asarray(self.assigned, np.int64)

    def as_csv(self, entries: Sequence[ImageEntry]) -> str:
        """Return the text of folds.csv for these training images."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(
            (entry.sha256, fold) for entry, fold in zip(entries, self.assigned, strict=True)
        )
        return stream.getvalue()


def read_plan(text: str, entries: Sequence[ImageEntry], networks: int, name: str) -> FoldPlan:
    """Read the text of folds.csv; `name` is used in errors.

    Raises:
        RunError: if it is not of these training images, in their order.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
        if [row["sha256"] for row in rows] != [entry.sha256 for entry in entries]:
            raise RunError(f"{name} is not of the images of this run; train anew")
        assigned = tuple(int(row["fold"]) for row in rows)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise RunError(f"{name} is damaged ({error}); train anew") from error
    return FoldPlan(assigned=assigned, folds=max(assigned, default=0) + 1, networks=networks)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folding:
    """The rule that chooses between cross-fitting, one measured fold, and images held back.

    Attributes:
        folds, cross_fit_up_to, measure_up_to: of the recipe.
        chosen: the user's choice, None for the choice by size.
        one_device: false if several devices train in step, which the networks of folds do not.
    """

    folds: int
    cross_fit_up_to: int
    measure_up_to: int
    chosen: bool | None = None
    one_device: bool = True

    @classmethod
    def of_recipe(
        cls, settings: DataSettings, chosen: bool | None, *, one_device: bool = True
    ) -> Folding:
        """Return the rule of a recipe. Counts in the recipe hold images back."""
        counted = settings.val_count > 0 or settings.test_count > 0
        return cls(
            folds=settings.folds,
            cross_fit_up_to=settings.cross_fit_up_to,
            measure_up_to=settings.measure_up_to,
            chosen=False if chosen is None and counted else chosen,
            one_device=one_device,
        )

    def networks(self, images: int) -> int:
        """Return the number of networks that give figures; 0 to hold images back."""
        wanted = self._wanted(images)
        if wanted and not self.one_device:
            logger.info(
                "parts are held back to choose and to measure by: cross-fitting trains on one "
                "device, and --distribute on several"
            )
            return 0
        return wanted

    def _wanted(self, images: int) -> int:
        if self.folds == 0 or self.chosen is False:
            return 0
        if self.chosen or images <= self.cross_fit_up_to:
            return self.folds
        return 1 if images <= self.measure_up_to else 0
