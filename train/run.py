"""The run folder: everything a training leaves behind, and all that export needs.

docs/formats.md describes it file by file. Every file appears whole or not at all. Nothing here
imports TensorFlow: `network.load_network` makes a network of the folder.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmedge import __version__
from lmedge.errors import LmedgeError, RecipeError, RunError
from lmedge.evaluation import CROSS_VALIDATED, PARTS
from lmedge.files import check_folder, replacing, write_json, write_text
from lmedge.image import Resize
from lmedge.machine import package_version
from lmedge.regular import read_regular, read_regular_text
from lmedge.taxonomy import Taxonomy

from .arrays import Floats, Weights, read_arrays
from .calibration import Calibration
from .data.fold_plan import FoldPlan, read_plan
from .data.split import Split, label_indices
from .data.store import ImageEntry, ImageStore, PreparedImages
from .data.unlabelled import read_unlabelled, unlabelled_csv
from .fitting.augment import RandomViews, random_order
from .fitting.strategies import STRATEGIES, check_strategy
from .recipes import Recipe, change_recipe, parse_recipe

FORMAT = 1
EXPORT_SECTIONS = ("quantize.", "camera.")  # of the recipe, which an export may change
EXPORT_KEYS = ("data.test_size",)
UNKNOWN_FILE = "unknown.csv"  # the unknown images, if there are any
PACKAGES = (
    "tensorflow",
    "tf_keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "opencv-python",
    "numpy",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HistoryRow:
    """One epoch of one phase. The validation figures are of the heads that the phase trains."""

    phase: str
    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float
    learning_rate: float
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """All that is needed to build the network of a run; its weights come from a file."""

    backbone: str
    size: int
    landmarks: int
    categories: int
    head_layers: tuple[int, ...] = ()
    dropout: tuple[float, ...] = (0.0,)
    feature: str | None = None  # the head whose probabilities are a feature of the other


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    found = {package: package_version(package) for package in PACKAGES}
    installed = {package: version for package, version in found.items() if version is not None}
    return {"python": platform.python_version(), **installed}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder: its description, and the files that training adds.

    Attributes:
        folder: the folder itself.
        recipe: every value of the training.
        split: the images of each part.
        strategy: a name of `STRATEGIES`.
        weights: "imagenet", "none" or the path of a file, as for `lmedge train --weights`.
        seed: the seed of the order, the augmentation and the initial weights.
        data: the absolute path of the photographs.
        versions: the versions of Python and of packages that wrote the folder.
        skipped: a line for each image that could not be read.
        unknown: images of anything but the landmarks; their labels are empty.
        plan: the folds of the training part if the run is cross-fitted, otherwise None.
        trained_recipe: the recipe of the folder if an export has changed `recipe`, otherwise None.
    """

    folder: Path
    recipe: Recipe
    split: Split
    strategy: str
    weights: str
    seed: int
    data: str
    versions: Mapping[str, str] = dataclasses.field(default_factory=versions)
    skipped: tuple[str, ...] = ()
    unknown: tuple[ImageEntry, ...] = ()
    plan: FoldPlan | None = None
    trained_recipe: Recipe | None = None

    def create(self) -> None:
        """Write the description of this new run.

        Raises:
            RunError: if the folder holds a run already, or what is left of one.
        """
        self.check_new(self.folder)
        write_text(self.folder / "recipe.toml", self.recipe.as_toml())
        write_text(self.folder / "split.csv", self.split.as_csv())
        if self.unknown:
            write_text(self.folder / UNKNOWN_FILE, unlabelled_csv(self.unknown))
        if self.plan is not None:
            write_text(self.folder / "folds.csv", self.plan.as_csv(self.entries("train")))
        write_json(self.folder / "taxonomy.json", self.taxonomy.hierarchy())
        write_json(
            self._description,
            {
                "format": FORMAT,
                "lmedge": __version__,
                "strategy": self.strategy,
                "weights": self.weights,
                "seed": self.seed,
                "data": self.data,
                "split_sha256": self.split.digest(),
                "versions": dict(self.versions),
                "skipped": list(self.skipped),
                "unknown": len(self.unknown),
                "networks": 0 if self.plan is None else self.plan.networks,
            },
        )

    @staticmethod
    def check_new(folder: Path) -> None:
        """Raise RunError if a new run cannot begin in `folder`, LmedgeError if none can write."""
        if (folder / "run.json").exists():
            raise RunError(f"{folder} holds a run already; go on with --resume or name another")
        left = [name for name in ("checkpoints", "history.csv") if (folder / name).exists()]
        if left:  # its phases would be taken for this run's own
            raise RunError(
                f"{folder} holds what is left of another run ({', '.join(left)}); remove it or "
                "name another"
            )
        check_folder(folder)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Read a run folder.

        Raises:
            RunError: if it is not a run folder, is damaged or is from a newer version.
        """
        try:
            about = json.loads(read_regular(folder / "run.json"))
            if about["format"] > FORMAT:
                raise RunError(
                    f"{folder} was written by lmedge {about['lmedge']}, which is newer than this "
                    f"one ({__version__}); update lmedge"
                )
            recipe = parse_recipe(read_regular_text(folder / "recipe.toml"))
            path = folder / "split.csv"
            split = Split.from_csv(read_regular_text(path), str(path))
            if split.digest() != about["split_sha256"]:
                raise RunError(
                    f"{path} is not the split this run was made with; put the file back or train "
                    "anew"
                )
            check_strategy(about["strategy"])
            _check_inside(split, about["data"], path)
            path = folder / UNKNOWN_FILE
            unknown = read_unlabelled(path) if about.get("unknown", 0) else ()
            if len(unknown) != about.get("unknown", 0):
                raise RunError(f"{path} is not the list this run was made with; put the file back")
            plan = None
            if about.get("networks", 0):
                path = folder / "folds.csv"
                text, entries = path.read_text("utf-8"), split.parts["train"]
                plan = read_plan(text, entries, about["networks"], str(path))
            return cls(
                folder=folder,
                recipe=recipe,
                split=split,
                strategy=about["strategy"],
                weights=about["weights"],
                seed=about["seed"],
                data=about["data"],
                versions=about["versions"],
                skipped=tuple(about["skipped"]),
                unknown=unknown,
                plan=plan,
            )
        except FileNotFoundError as error:
            raise RunError(
                f"{folder} is not a run folder ({Path(error.filename).name} is missing); pass the "
                "folder that `lmedge train` named"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, RecursionError, RecipeError) as error:
            raise RunError(f"{folder}: its description is damaged ({error})") from error

    @property
    def _description(self) -> Path:
        return self.folder / "run.json"

    @property
    def weights_path(self) -> Path:
        """The file of the trained weights, which is written last."""
        return self.folder / "weights.safetensors"

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

    def trained_weights(self) -> Weights:
        """Return the trained weights by "layer/number".

        Raises:
            RunError: if training has not ended, or the file is damaged.
        """
        self.check_finished()
        return read_arrays(self.weights_path)

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

    @property
    def taxonomy(self) -> Taxonomy:
        """The labels of this run."""
        return self.split.taxonomy()

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
            feature=STRATEGIES[self.strategy].feature,
        )

    def entries(self, part: str) -> tuple[ImageEntry, ...]:
        """Return the images of "train", "val" or "test"."""
        return self.split.parts[part]

    def labels(self, part: str) -> dict[str, npt.NDArray[np.int64]]:
        """Return the label indices of a part by head, (N,) each."""
        return label_indices(self.entries(part), self.taxonomy)

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
        path = self.folder / "history.csv"
        if not path.exists():
            return []
        kinds = {"phase": str, "epoch": int}
        with io.StringIO(read_regular_text(path), newline="") as stream:
            return [
                HistoryRow(**{key: kinds.get(key, float)(value) for key, value in row.items()})
                for row in csv.DictReader(stream)
            ]

    def write_history(self, rows: list[HistoryRow]) -> None:
        """Write history.csv anew."""
        names = [field.name for field in dataclasses.fields(HistoryRow)]
        with (
            replacing(self.folder / "history.csv") as temporary,
            temporary.open("w", encoding="utf-8", newline="") as stream,
        ):
            writer = csv.DictWriter(stream, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(dataclasses.asdict(row) for row in rows)


def _check_inside(split: Split, data: str, path: Path) -> None:
    """Raise RunError if a split of a run names an image that is not below the run's data."""
    # The names are compared: a link in the folder of the photographs is the owner's.
    folder = os.path.join(os.path.normpath(data), "")  # noqa: PTH118  (ends in a separator)
    for part in PARTS:
        for entry in split.parts[part]:
            if not os.path.normpath(entry.image.path).startswith(folder):
                raise RunError(
                    f"{path}: {entry.image.path} is not below {data}, the data of the run; take "
                    "the run folder that `lmedge train` wrote"
                )
