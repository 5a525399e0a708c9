"""Plan of a comparison: settings, each on the same splits."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from lmedge.errors import DataError, RecipeError, WeightsError
from lmedge.image import Resize

from ..data.preparation import SplitOptions, prepare_folds, prepare_split
from ..data.split import Split
from ..data.store import ImageStore
from ..fitting.strategies import STRATEGIES, check_strategy
from ..options import WEIGHTS, find_weights
from ..recipes import Recipe, load_recipe
from ..recipes.sections import BACKBONE_NAMES, check_known

ALL = "all"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One way to train. `varied` are the "section.key=value" changes that --vary made."""

    strategy: str
    recipe_name: str
    recipe: Recipe
    weights: str
    varied: tuple[str, ...] = ()

    @property
    def backbone(self) -> str:
        """The network's body."""
        return self.recipe.network.backbone

    @property
    def columns(self) -> dict[str, str]:
        """The values that distinguish this setting from others, by column."""
        return {
            "strategy": self.strategy,
            "backbone": self.backbone,
            "recipe": self.recipe_name,
            **dict(change.split("=", 1) for change in self.varied),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Repeat:
    """One of the splits that every setting is run on; `fold` is None if it is the recipe's own."""

    seed: int
    fold: int | None = None

    @property
    def name(self) -> str:
        """Name in tables and files."""
        return f"seed {self.seed}" if self.fold is None else f"fold {self.fold}, seed {self.seed}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting on one repeat: one training."""

    setting: Setting
    repeat: Repeat
    split: Split

    @property
    def key(self) -> str:
        """Name of the folder: readable, and different for different work."""
        readable = [*self.setting.columns.values(), self.repeat.name]
        words = re.sub(r"[^A-Za-z0-9.]+", "-", " ".join(readable)).strip("-")
        identity = json.dumps(
            [
                self.setting.recipe.as_dict(),
                self.setting.strategy,
                self.setting.weights,
                self.repeat.seed,
                self.split.digest(),
            ],
            sort_keys=True,
        )
        return f"{words[:80]}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def settings_of(
    *,
    strategies: str,
    backbones: str | None,
    recipes: str,
    vary: Sequence[str],
    changes: Sequence[str],
    weights: Sequence[str],
) -> list[Setting]:
    """Return every combination of the comma-separated lists, in their order.

    Raises RecipeError, before anything is run, for a name or value that is not allowed.
    """
    given = _weights(weights)
    rounds = [_variants(one) for one in vary]
    found = []
    for recipe, backbone, strategy in itertools.product(
        _listed(recipes, "recipe"),
        [None] if backbones is None else _names(backbones, "backbone", BACKBONE_NAMES),
        _names(strategies, "strategy", STRATEGIES),
    ):
        check_strategy(strategy)
        chosen = [] if backbone is None else [f"network.backbone={backbone}"]
        for varied in itertools.product(*rounds):
            values = load_recipe(recipe, [*changes, *chosen, *varied])
            found.append(
                Setting(
                    strategy=strategy,
                    recipe_name=Path(recipe).stem,
                    recipe=values,
                    weights=given.get(values.network.backbone, given[""]),
                    varied=varied,
                )
            )
    if len(set(map(_identity, found))) < len(found):
        raise RecipeError("the same setting is asked for twice; leave one of them out")
    return found


def _identity(setting: Setting) -> str:
    return json.dumps([setting.recipe.as_dict(), setting.strategy], sort_keys=True)


def _listed(text: str, kind: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise RecipeError(f"an empty name among the {kind} names {text!r}; write them as a,b,c")
    return names


def _names(text: str, kind: str, known: Sequence[str] | Mapping[str, object]) -> list[str]:
    if text == ALL:
        return list(known)
    names = _listed(text, kind)
    for name in names:
        check_known(kind, name, known)
    return names


def _variants(text: str) -> list[str]:
    """Return "key=a", "key=b" ... of "key=a,b"; commas inside brackets or quotes do not part."""
    key, separator, values = text.partition("=")
    if not separator or not values.strip():
        raise RecipeError(f"--vary {text}: write it as section.key=a,b,c")
    parts = re.findall(r"(?:\[[^\]]*\]|\"[^\"]*\"|[^,\[\"]+)+", values)
    return [f"{key.strip()}={part.strip()}" for part in parts]


def _weights(given: Sequence[str]) -> dict[str, str]:
    """Return the weights by backbone; under "" those of every other."""
    found = {"": "imagenet"}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or name not in BACKBONE_NAMES:
            name, value = "", text
        if value not in WEIGHTS:
            value = str(Path(value).resolve())
        found[name] = value
    return found


def check_weights(settings: Sequence[Setting]) -> None:
    """Raise WeightsError if a file of weights is not there; its run reads what is in it."""
    for weights in {setting.weights for setting in settings} - set(WEIGHTS):
        if find_weights(weights) is None:
            raise WeightsError(f"{weights}: no such file or folder; check --weights")


def trials_of(
    settings: Sequence[Setting],
    data: Path,
    *,
    folds: int | None,
    seeds: int,
    exclude: Path | None,
    allow_leak: bool,
) -> list[Trial]:
    """Return all trials, repeat by repeat, so that a table fills evenly.

    With `folds` all images are split anew, by their fingerprints at the size of the default recipe,
    so that every setting is tested on the same images. Near-duplicates are in one fold. Without
    `folds` each recipe has its own split.
    """
    splits: dict[str, list[Split]] = {}
    found = []
    for seed, setting in itertools.product(range(seeds), settings):
        options = SplitOptions.of_recipe(
            setting.recipe.data, seed=seed, exclude=exclude, allow_leak=allow_leak
        )
        if setting.recipe.data.folds:  # what would be held back is learned from
            options = dataclasses.replace(options, val_fraction=0.0, counts={})
        store = _store(setting.recipe, folds)
        asked = repr((options, store.size, store.resize))
        if asked not in splits:
            splits[asked] = (
                prepare_folds(data, store, options, folds)
                if folds
                else [prepare_split(data, store, options)[0]]
            )
        for fold, split in enumerate(splits[asked]):
            if not split.parts["test"]:
                raise DataError(
                    f"{data}: the recipe {setting.recipe_name} leaves no test part to compare by; "
                    "pass --folds, or set data.test_fraction above 0"
                )
            repeat = Repeat(seed=seed, fold=fold if folds else None)
            found.append(Trial(setting=setting, repeat=repeat, split=split))
    return sorted(found, key=lambda trial: (trial.repeat.seed, trial.repeat.fold or 0))


def _store(recipe: Recipe, folds: int | None) -> ImageStore:
    settings = load_recipe("default").data if folds else recipe.data
    return ImageStore(settings.image_size, Resize(settings.resize))
