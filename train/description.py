"""The description of a run: what a training is made of, written before its first step."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from lmedge import __version__
from lmedge.errors import DataError, RecipeError, RunError
from lmedge.evaluation import PARTS
from lmedge.files import check_folder, write_json, write_text
from lmedge.machine import package_version
from lmedge.regular import read_regular, read_regular_text
from lmedge.taxonomy import Taxonomy

from .data.fold_plan import FoldPlan, read_plan
from .data.split import Split
from .data.store import ImageEntry
from .data.unlabelled import read_unlabelled, unlabelled_csv
from .fitting.strategies import check_strategy
from .recipes import Recipe, parse_recipe

FORMAT = 1
UNKNOWN_FILE = "unknown.csv"  # the unknown images, if there are any
DESCRIPTION = (
    "recipe.toml",
    "split.csv",
    UNKNOWN_FILE,
    "folds.csv",
    "taxonomy.json",
    "run.json",
)
PACKAGES = (
    "tensorflow",
    "tf_keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "opencv-python",
    "numpy",
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    found = {package: package_version(package) for package in PACKAGES}
    installed = {package: version for package, version in found.items() if version is not None}
    return {"python": platform.python_version(), **installed}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunDescription:
    """The files of a run folder that are written before the first step.

    Attributes:
        folder: the folder itself.
        recipe: every value of the training.
        split: the images of each part.
        strategy: a name of `STRATEGIES`.
        weights: "imagenet", "base", "none" or the path of a file, as for `lmedge train --weights`.
        seed: the seed of the order, the augmentation and the initial weights.
        data: the absolute path of the photographs.
        versions: the versions of Python and of packages that wrote the folder.
        skipped: a line for each image that could not be read.
        unknown: images of anything but the landmarks; their labels are empty.
        plan: the folds of the training part if the run is cross-fitted, otherwise None.
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
    def open(cls, folder: Path) -> Self:
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
    def begun(self) -> bool:
        """True if a first epoch, or a first phase, has left something."""
        return any(
            next(self.folder.rglob(pattern), None) is not None
            for pattern in ("history.csv", "*.safetensors")
        )

    def remove_unless_begun(self) -> None:
        """Remove the description unless something was trained."""
        if not self.begun:
            self.remove_description()

    def remove_description(self) -> None:
        """Remove what `create` and a log wrote, and the folder unless something else is in it."""
        for name in (*DESCRIPTION, "train.log"):
            with contextlib.suppress(OSError):
                (self.folder / name).unlink()
        for name in ("folds", "tensorboard"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for folder in (self.folder, self.folder.parent):
            with contextlib.suppress(OSError):  # something else is in it
                folder.rmdir()

    def moved_to(self, data: Path) -> Self:
        """Return the run with its photographs in another folder, by the same names below it.

        Nothing is written. The bytes of an image are compared with the split when it is read.

        Raises:
            DataError: if images of the run are not there.
        """
        folder = data.resolve()
        if str(folder) == self.data:
            return self

        def moved(entry: ImageEntry) -> ImageEntry:
            path = Path(os.path.normpath(entry.image.path))
            if not path.is_relative_to(self.data):  # unknown images may be anywhere
                return entry
            image = dataclasses.replace(entry.image, path=folder / path.relative_to(self.data))
            return dataclasses.replace(entry, image=image)

        parts = {name: tuple(map(moved, own)) for name, own in self.split.parts.items()}
        every = [entry.image.path for own in parts.values() for entry in own]
        gone = [path for path in every if not path.is_file()]
        if gone:
            raise DataError(
                f"{data}: {len(gone)} of the {len(every)} images of the run are not there, "
                f"{gone[0]} for one; name the folder that {self.data} was moved to"
            )
        unknown = tuple(map(moved, self.unknown))
        return dataclasses.replace(self, split=Split(parts), data=str(folder), unknown=unknown)

    @property
    def taxonomy(self) -> Taxonomy:
        """The labels of this run."""
        return self.split.taxonomy()

    def entries(self, part: str) -> tuple[ImageEntry, ...]:
        """Return the images of "train", "val" or "test"."""
        return self.split.parts[part]


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
