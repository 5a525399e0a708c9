"""The run folder: everything a training leaves behind, and all that export needs.

docs/formats.md describes it file by file. Every file appears whole or not at all.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import importlib.metadata
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from lmedge import __version__
from lmedge.errors import LmedgeError, RecipeError, RunError
from lmedge.files import replacing, write_json, write_text
from lmedge.image import Resize
from lmedge.taxonomy import Taxonomy

from .backend import keras
from .calibration import Calibration
from .data.split import Split, labels
from .data.store import Entry, ImageStore, PreparedImages
from .fitting.batches import AugmentedBatches, Labels
from .fitting.strategies import STRATEGIES, check_strategy
from .network import NetworkSpec, build_network
from .recipes.loading import Recipe, change_recipe, load_recipe, recipe_from

FORMAT = 1
PACKAGES = (
    "tensorflow",
    "tf_keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "opencv-python",
    "numpy",
)
Weights = dict[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class HistoryRow:
    """One epoch of one phase. The validation figures are of the phase's head."""

    phase: str
    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float
    learning_rate: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Run:
    """An open run folder.

    `refit_of` is None, or, where the test images of an earlier run were trained on too, the name
    of that run (`run`) and its scores on them (`test`, as in metrics.json).
    """

    folder: Path
    recipe: Recipe
    split: Split
    strategy: str
    weights: str
    seed: int
    data: str
    versions: Mapping[str, str]
    skipped: tuple[str, ...]
    refit_of: Mapping[str, Any] | None = None

    @classmethod
    def create(
        cls,
        folder: Path,
        recipe: Recipe,
        split: Split,
        *,
        strategy: str,
        weights: str,
        seed: int,
        data: str,
        skipped: tuple[str, ...] = (),
        refit_of: Mapping[str, Any] | None = None,
    ) -> Run:
        """Write the description of a new run; raises RunError when the folder holds one."""
        if (folder / "run.json").exists():
            raise RunError(f"{folder} holds a run already; go on with --resume or name another")
        left = [name for name in ("checkpoints", "history.csv") if (folder / name).exists()]
        if left:  # its phases would be taken for this run's own
            raise RunError(
                f"{folder} holds what is left of another run ({', '.join(left)}); remove it or "
                "name another"
            )
        run = cls(
            folder, recipe, split, strategy, weights, seed, data, versions(), skipped, refit_of
        )
        write_text(folder / "recipe.toml", recipe.as_toml())
        write_text(folder / "split.csv", split.as_csv())
        write_json(folder / "taxonomy.json", split.taxonomy().hierarchy())
        write_json(
            folder / "run.json",
            {
                "format": FORMAT,
                "lmedge": __version__,
                "strategy": strategy,
                "weights": weights,
                "seed": seed,
                "data": data,
                "split_sha256": split.digest(),
                "versions": dict(run.versions),
                "skipped": list(skipped),
                "refit_of": refit_of,
            },
        )
        return run

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Read a run folder. Raises RunError when it is none, damaged or from a newer version."""
        path = folder / "run.json"
        try:
            about = json.loads(path.read_text("utf-8"))
            if about["format"] > FORMAT:
                raise RunError(
                    f"{folder} was written by lmedge {about['lmedge']}, which is newer than this "
                    f"one ({__version__}); update lmedge"
                )
            recipe = recipe_from(_toml_sections(folder / "recipe.toml"))
            split = Split.from_csv(
                (folder / "split.csv").read_text("utf-8"), str(folder / "split.csv")
            )
            if split.digest() != about["split_sha256"]:
                raise RunError(
                    f"{folder / 'split.csv'} is not the split this run was made with; put the "
                    "file back or train anew"
                )
            check_strategy(about["strategy"])
            return cls(
                folder,
                recipe,
                split,
                about["strategy"],
                about["weights"],
                about["seed"],
                about["data"],
                about["versions"],
                tuple(about["skipped"]),
                about.get("refit_of"),
            )
        except FileNotFoundError as error:
            raise RunError(
                f"{folder} is not a run folder ({Path(error.filename).name} is missing); pass the "
                "folder that `lmedge train` named"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, RecipeError) as error:
            raise RunError(f"{folder}: its description is damaged ({error})") from error

    def with_settings(self, settings: Sequence[str]) -> Run:
        """Return the run with "section.key=value" changes to its recipe; nothing is written."""
        return dataclasses.replace(self, recipe=change_recipe(self.recipe, settings))

    @property
    def taxonomy(self) -> Taxonomy:
        """The labels of this run."""
        return self.split.taxonomy()

    @functools.cached_property
    def store(self) -> ImageStore:
        """The decoded images at this run's input size."""
        return ImageStore(self.recipe.data.image_size, Resize(self.recipe.data.resize))

    @property
    def spec(self) -> NetworkSpec:
        """What is needed to draw this run's network."""
        settings, taxonomy = self.recipe.network, self.taxonomy
        return NetworkSpec(
            backbone=settings.backbone,
            size=self.recipe.data.image_size,
            landmarks=len(taxonomy.landmarks),
            categories=len(taxonomy.categories),
            head_layers=settings.head_layers,
            dropout=settings.dropout,
            feature=STRATEGIES[self.strategy].feature,
        )

    def entries(self, part: str) -> tuple[Entry, ...]:
        """Return the images of "train", "val" or "test"."""
        return self.split.parts[part]

    def labels(self, part: str) -> dict[str, npt.NDArray[np.int64]]:
        """Return the label indices of a part by head, (N,) each."""
        return labels(self.entries(part), self.taxonomy)

    def images(self, part: str, indices: Sequence[int] | None = None) -> PreparedImages:
        """Return a part as the device sees it, N x (S, S, 3) uint8 RGB, read image by image.

        indices: of its entries that are wanted, all unless given.
        """
        entries = self.entries(part)
        chosen = entries if indices is None else [entries[index] for index in indices]
        return PreparedImages(self.store, chosen)

    def training_inputs(self, epoch: int, batch: int) -> Iterator[npt.NDArray[np.float32]]:
        """Yield one epoch of augmented training images as network inputs, without labels."""
        batches = AugmentedBatches(
            self.store,
            self.entries("train"),
            Labels({"": np.zeros((len(self.entries("train")), 1), np.float32)}),
            self.recipe.augment,
            batch=batch,
            seed=self.seed,
            epoch=epoch,
        )
        for index in range(len(batches)):
            yield batches.inputs(index)

    def network(self) -> keras.Model:
        """Return the trained network. Raises RunError when training has not ended."""
        path = self.folder / "weights.safetensors"
        if not path.exists():
            raise RunError(
                f"{self.folder}: training has not ended; go on with `lmedge train ... --resume`"
            )
        network = build_network(self.spec)
        set_weights(network, read_arrays(path), path)
        return network

    def calibration(self) -> Calibration:
        """Return what the validation part chose, that of independent heads where there is none."""
        path = self.folder / "metrics.json"
        try:
            return Calibration.of_scores(self.metrics().get("val", {}))
        except (ValueError, TypeError, AttributeError, LmedgeError) as error:
            raise RunError(f"{path} is damaged ({error}); train anew") from error

    def metrics(self) -> dict[str, Any]:
        """Return metrics.json; empty before training has ended."""
        path = self.folder / "metrics.json"
        try:
            return dict(json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"{path} is damaged ({error}); train anew") from error

    def history(self) -> list[HistoryRow]:
        """Return history.csv; empty before the first epoch."""
        path = self.folder / "history.csv"
        if not path.exists():
            return []
        kinds = {"phase": str, "epoch": int}
        with path.open(encoding="utf-8", newline="") as stream:
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


def _toml_sections(path: Path) -> dict[str, dict[str, Any]]:
    path.stat()  # a missing file is said here: to the loader it is an unknown name
    # Through the loader: a run of an older version lacks what was added since.
    return load_recipe(str(path)).as_dict()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def get_weights(network: keras.Model) -> Weights:
    """Return the weights by name, "layer/number", as the run folder keeps them."""
    return {
        f"{layer.name}/{number}": np.asarray(value)
        for layer in network.layers
        for number, value in enumerate(layer.get_weights())
    }


def set_weights(network: keras.Model, arrays: Weights, path: Path) -> None:
    """Put named weights into the network. Raises RunError when they do not fit; `path` is named."""
    for layer in network.layers:
        if not layer.weights:
            continue
        try:
            layer.set_weights([arrays[f"{layer.name}/{n}"] for n in range(len(layer.weights))])
        except (KeyError, ValueError) as error:
            raise RunError(f"{path} does not fit the network at {layer.name}: {error}") from error


def write_arrays(path: Path, arrays: Weights) -> None:
    """Write named arrays in the safetensors format, whole or not at all."""
    with replacing(path) as temporary:
        safetensors.numpy.save_file(
            {name: np.asarray(value, order="C") for name, value in arrays.items()}, temporary
        )


def read_arrays(path: Path) -> Weights:
    """Read named arrays. Raises RunError when the file is missing or damaged."""
    try:
        return dict(safetensors.numpy.load_file(path))
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
