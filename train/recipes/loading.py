"""Recipes: every default of training and export in the open, checked before the work starts."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from lmedge.errors import RecipeError
from lmedge.text_files import read_user_text

from .sections import (
    AugmentSettings,
    CameraSettings,
    DataSettings,
    FineTuneSettings,
    HeadSettings,
    NetworkSettings,
    QuantizeSettings,
    StrategySettings,
    fail,
    require,
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All values of training and export, by section."""

    data: DataSettings
    augment: AugmentSettings
    network: NetworkSettings
    strategy: StrategySettings
    head: HeadSettings
    second_head: HeadSettings
    fine_tune: FineTuneSettings
    quantize: QuantizeSettings
    camera: CameraSettings

    def __post_init__(self) -> None:
        for section in ("head", "second_head"):
            phase: HeadSettings = getattr(self, section)
            phase.check_in(section)
            require(
                phase.optimizer != "discriminant" or not self.network.head_layers,
                f"{section}.optimizer",
                "discriminant solves one layer; with network.head_layers take adamw, adam or sgd "
                "in [head] and [second_head]",
            )

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return sections of plain values."""
        return dataclasses.asdict(self)

    def as_toml(self) -> str:
        """Return the text of a recipe file with these values."""
        lines: list[str] = []
        for section, values in self.as_dict().items():
            lines += [f"[{section}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
            lines.append("")
        return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)


# Values that the recipe of an earlier run folder does not name.
_ADDED = {"data": {"test_size": 0, "folds": 0, "cross_fit_up_to": 0, "measure_up_to": 0}}


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with lmedge."""
    files = resources.files("lmedge.train.recipes").iterdir()
    return sorted(Path(file.name).stem for file in files if file.name.endswith(".toml"))


def load_recipe(name: str, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe by its name or path and change it by "section.key=value" settings.

    The default recipe gives the values that a file does not name. Raises RecipeError.
    """
    values = _read("default")
    if name != "default":
        for section, content in _read(name).items():
            if not isinstance(content, dict):
                fail(section, "stands outside a [section]")
            values.setdefault(section, {}).update(content)
    return _changed(values, settings)


def parse_recipe(text: str) -> Recipe:
    """Return the recipe of a TOML text that names every value, such as a run folder's.

    A recipe of an earlier version may lack values that did not exist; they get their old meaning.

    Raises:
        RecipeError: for a value that is missing, unknown or impossible.
        ValueError: if the text is not TOML.
    """
    values = tomllib.loads(text)
    for section, added in _ADDED.items():
        if isinstance(values.get(section), dict):
            values[section] = {**added, **values[section]}
    return recipe_from(values)


def change_recipe(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Return the recipe with "section.key=value" settings. Raises RecipeError."""
    return _changed(recipe.as_dict(), settings)


def _changed(values: dict[str, dict[str, Any]], settings: Sequence[str]) -> Recipe:
    for setting in settings:
        key, separator, text = setting.partition("=")
        section, dot, entry = key.strip().partition(".")
        if not separator or not dot:
            raise RecipeError(f"--set {setting}: write it as section.key=value")
        values.setdefault(section, {})[entry] = _value(text.strip())
    return recipe_from(values)


def recipe_from(values: Mapping[str, Mapping[str, Any]]) -> Recipe:
    """Check sections of plain values and return the recipe. Raises RecipeError."""
    sections = typing.get_type_hints(Recipe)
    _known("", set(values), set(sections))
    return Recipe(**{name: _section(name, kind, values[name]) for name, kind in sections.items()})


def _read(name: str) -> dict[str, dict[str, Any]]:
    if name in recipe_names():
        text = resources.files("lmedge.train.recipes").joinpath(f"{name}.toml").read_text("utf-8")
    else:
        try:
            text = read_user_text(Path(name))
        except ValueError as error:
            raise RecipeError(f"{name}: not a recipe ({error}); save it as UTF-8 text") from error
        except OSError as error:
            near = difflib.get_close_matches(name, recipe_names(), 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise RecipeError(
                f"no recipe named or at {name!r} (known: {', '.join(recipe_names())}){hint}"
            ) from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{name}: not a TOML file ({error})") from error


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word


def _known(prefix: str, given: set[str], allowed: set[str]) -> None:
    for key in sorted(given - allowed):
        near = difflib.get_close_matches(key, allowed, 1, 0.4)
        hint = f"did you mean {prefix}{near[0]}? " if near else ""
        fail(prefix + key, f"not known; {hint}allowed: {', '.join(sorted(allowed))}")
    for key in sorted(allowed - given):
        fail(prefix + key, "missing")


def _section(name: str, kind: type, values: Mapping[str, Any]) -> Any:
    if not isinstance(values, Mapping):
        fail(name, "is a section, not a value")
    fields = typing.get_type_hints(kind)
    _known(f"{name}.", set(values), set(fields))
    return kind(**{key: _typed(f"{name}.{key}", fields[key], values[key]) for key in fields})


def _typed(key: str, kind: Any, value: Any) -> Any:
    """Return `value` as `kind`, one of bool, int, float, str or a tuple of those."""
    if isinstance(kind, types.GenericAlias):
        items = typing.get_args(kind)
        if not isinstance(value, list | tuple):
            if items[-1] is not Ellipsis:
                fail(key, f"{value!r} is not a list")
            value = [value]  # one is a list of one
        if items[-1] is Ellipsis:
            return tuple(_typed(key, items[0], item) for item in value)
        if len(value) != len(items):
            fail(key, f"{value!r} is not a list of {len(items)}")
        return tuple(_typed(key, item, part) for item, part in zip(items, value, strict=True))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        fail(key, f"{value!r} is not {'a number' if kind in (int, float) else kind.__name__}")
    return value
