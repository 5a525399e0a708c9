"""The run folder: everything a training leaves behind, and all that export needs.

docs/formats.md describes it file by file. Every file appears whole or not at all. Nothing here
imports TensorFlow: `network.load_network` makes a network of the folder.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmedge.errors import DataError, LmedgeError, RecipeError, RunError
from lmedge.evaluation import CROSS_VALIDATED
from lmedge.image import Resize
from lmedge.regular import read_regular

from .arrays import Floats, Weights, first_not_finite, read_arrays
from .calibration import Calibration
from .cluster.sharing import ImageShares
from .data.split import label_indices
from .data.store import ImageEntry, ImageStore, PreparedImages
from .description import RunDescription
from .fitting.augment import RandomViews, random_order
from .fitting.strategies import STRATEGIES
from .history import HISTORY, HistoryRow, read_history, write_history
from .recipes import Recipe, change_recipe

EXPORT_SECTIONS = ("quantize.", "camera.")  # of the recipe, which an export may change
EXPORT_KEYS = ("data.test_size",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """All that is needed to build the network of a run; its weights come from a file."""

    backbone: str
    size: int
    landmarks: int
    categories: int
    head_layers: tuple[int, ...] = ()
    dropout: tuple[float, ...] = (0.0,)
    features: str = "last"  # "widest": the average over the widest layer too
    feature: str | None = None  # the head whose probabilities are a feature of the other


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(RunDescription):
    """A run folder: its description, and the files that training adds.

    Attributes:
        trained_recipe: the recipe of the folder if an export has changed `recipe`, otherwise None.
    """

    trained_recipe: Recipe | None = None

    @property
    def weights_path(self) -> Path:
        """The file of the trained weights, which is written last."""
        return self.folder / "weights.safetensors"

    @property
    def judged(self) -> bool:
        """True if there are images to choose by, and to judge an exported file by."""
        return bool(self.entries("val")) or self.plan is not None

    @property
    def finished(self) -> bool:
        """True if training has ended."""
        return self.weights_path.exists()

    @property
    def checkpoints(self) -> Path:
        """The folder of the phases' states, which is removed once the reports are drawn too."""
        return self.folder / "checkpoints"

    @property
    def complete(self) -> bool:
        """True if nothing is left for `lmedge train --resume`."""
        return self.finished and not self.checkpoints.exists()

    def check_finished(self) -> None:
        """Raise RunError unless training has ended."""
        if not self.finished:
            raise RunError(
                f"{self.folder}: training has not ended; go on with `lmedge train ... --resume`"
            )

    def check_replicas(self, count: int) -> None:
        """Raise RunError if the run cannot be trained by so many devices in step."""
        if self.plan is not None and count > 1:
            raise RunError(
                f"{self.folder} is cross-fitted, which trains on one device; leave out --distribute"
            )

    def trained_weights(self) -> Weights:
        """Return the trained weights by "layer/number".

        Raises:
            RunError: if training has not ended, or the file is damaged or not finite.
        """
        self.check_finished()
        weights = read_arrays(self.weights_path)
        if (name := first_not_finite(weights)) is not None:
            raise RunError(f"{self.weights_path}: {name} is not finite; train anew")
        return weights

    def for_export(self, settings: Sequence[str]) -> Run:
        """Return the run with "section.key=value" changes to its recipe; nothing is written.

        Raises:
            RecipeError: for a value that is not allowed, or that an export does not use: the
                network would not be the one that was trained and measured.
        """
        recipe = change_recipe(self.recipe, settings)
        for setting in settings:
            key = setting.partition("=")[0].strip()
            if key not in EXPORT_KEYS and not key.startswith(EXPORT_SECTIONS):
                raise RecipeError(
                    f"recipe value {key}: an export cannot change it; train with it, or set "
                    f"{', '.join(f'{name}*' for name in EXPORT_SECTIONS)} or "
                    f"{', '.join(EXPORT_KEYS)}"
                )
        return dataclasses.replace(self, recipe=recipe, trained_recipe=self.as_trained.recipe)

    @property
    def as_trained(self) -> Run:
        """The run with the recipe of its folder."""
        recipe = self.trained_recipe or self.recipe
        return dataclasses.replace(self, recipe=recipe, trained_recipe=None)

    @functools.cached_property
    def store(self) -> ImageStore:
        """The decoded images at the size that the network learns from."""
        return ImageStore(self.recipe.data.image_size, Resize(self.recipe.data.resize))

    @functools.cached_property
    def input_store(self) -> ImageStore:
        """The decoded images at the size that is measured and that a file takes."""
        return ImageStore(self.recipe.data.input_size, Resize(self.recipe.data.resize))

    @property
    def spec(self) -> NetworkSpec:
        """All that is needed to build the network that learns."""
        return self._spec(self.recipe.data.image_size)

    @property
    def input_spec(self) -> NetworkSpec:
        """All that is needed to build the network that is measured; its weights are the same."""
        return self._spec(self.recipe.data.input_size)

    def _spec(self, size: int) -> NetworkSpec:
        settings, taxonomy = self.recipe.network, self.taxonomy
        return NetworkSpec(
            backbone=settings.backbone,
            size=size,
            landmarks=len(taxonomy.landmarks),
            categories=len(taxonomy.categories),
            head_layers=settings.head_layers,
            dropout=settings.dropout,
            features=settings.features,
            feature=STRATEGIES[self.strategy].feature,
        )

    def check_images(self, entries: Sequence[ImageEntry] | None = None) -> None:
        """Raise DataError if images are neither where they were nor in the cache.

        entries: those that are wanted, all of the run unless given.
        """
        if entries is None:
            entries = [*self.unknown, *(one for own in self.split.parts.values() for one in own)]
        gone = [
            entry.image.path
            for entry in entries
            if not (entry.image.path.is_file() or self.input_store.has_prepared(entry))
        ]
        if gone:
            raise DataError(
                f"{self.folder}: {len(gone)} of {len(entries)} images of the run are neither in "
                f"{self.data} nor in the cache, {gone[0]} for one; name the folder that they were "
                "moved to, with --data or for `train --resume` as DATA"
            )

    def labels(self, part: str) -> dict[str, npt.NDArray[np.int64]]:
        """Return the label indices of a part by head, (N,) each."""
        return label_indices(self.entries(part), self.taxonomy)

    def sharing(self, part: str) -> ImageShares:
        """Return the shares of a part among the workers of this training."""
        return ImageShares.of([entry.image for entry in self.entries(part)])

    def images(self, part: str, indices: Sequence[int] | None = None) -> PreparedImages:
        """Return a part as the device sees it, N x (S, S, 3) uint8 RGB, read image by image.

        indices: of its entries that are wanted, all unless given.
        """
        entries = self.entries(part)
        chosen = entries if indices is None else [entries[index] for index in indices]
        return PreparedImages(self.input_store, chosen)

    def unknown_images(self) -> PreparedImages:
        """Return the unknown images as `images` returns those of a part."""
        return PreparedImages(self.input_store, self.unknown)

    def training_inputs(self, epoch: int, batch: int) -> Iterator[Floats]:
        """Yield one epoch of augmented training images as inputs of the network that is measured.

        There are no labels. Each batch is (N, S, S, 3) float32 with N up to `batch`.
        """
        entries, settings = self.entries("train"), self.recipe.augment
        views = RandomViews(self.input_store, entries, settings, seed=self.seed, epoch=epoch)
        order = random_order(len(entries), seed=self.seed, epoch=epoch).tolist()
        for start in range(0, len(order), batch):
            yield views.inputs([(index,) for index in order[start : start + batch]])

    def calibration(self) -> Calibration:
        """Return the calibration that the validation part chose, or the out-of-fold answers.

        Without either there is none: temperatures of 1 and independent heads.
        """
        path = self.folder / "metrics.json"
        try:
            metrics = self.metrics()
            scores = metrics.get("val", metrics.get(CROSS_VALIDATED))
            return Calibration.none() if scores is None else Calibration.of_scores(scores)
        except (KeyError, ValueError, TypeError, AttributeError, LmedgeError) as error:
            raise RunError(f"{path} is damaged ({error}); train anew") from error

    def metrics(self) -> dict[str, Any]:
        """Return metrics.json; empty before training has ended."""
        path = self.folder / "metrics.json"
        try:
            return dict(json.loads(read_regular(path)))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise RunError(f"{path} is damaged ({error}); train anew") from error

    def history(self) -> list[HistoryRow]:
        """Return history.csv; empty before the first epoch."""
        return read_history(self.folder / HISTORY)

    def write_history(self, rows: list[HistoryRow]) -> None:
        """Write history.csv anew."""
        write_history(self.folder / HISTORY, rows)
