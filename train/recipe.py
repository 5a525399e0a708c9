"""Recipes: every default of training and export in the open, checked before the work starts."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from lmedge.errors import RecipeError
from lmedge.image import Resize


def _fail(key: str, problem: str) -> typing.NoReturn:
    raise RecipeError(f"recipe value {key}: {problem}")


def _check(condition: bool, key: str, problem: str) -> None:
    if not condition:
        _fail(key, problem)


@dataclasses.dataclass(frozen=True)
class Data:
    """Which pictures, and how they become squares. Fractions are of each landmark's pictures."""

    image_size: int
    resize: str
    val_fraction: float
    test_fraction: float

    def __post_init__(self) -> None:
        _check(32 <= self.image_size <= 1024, "data.image_size", "allowed are 32 to 1024 pixels")
        names = [policy.value for policy in Resize]
        _check(self.resize in names, "data.resize", f"allowed are {', '.join(names)}")
        for name in ("val_fraction", "test_fraction"):
            value = getattr(self, name)
            _check(0 <= value <= 0.5, f"data.{name}", "allowed are 0 to 0.5")


@dataclasses.dataclass(frozen=True)
class Augment:
    """Changes made to each training picture anew in each epoch; see augment.py."""

    crop_scale: tuple[float, float]
    crop_aspect: float
    flip_left_right: bool
    flip_up_down: bool
    rotation_degrees: float
    brightness: float
    contrast: float
    saturation: float

    def __post_init__(self) -> None:
        low, high = self.crop_scale
        _check(0 < low <= high <= 1, "augment.crop_scale", "allowed is [low, high] within 0..1")
        _check(1 <= self.crop_aspect <= 2, "augment.crop_aspect", "allowed are 1 to 2")
        _check(0 <= self.rotation_degrees <= 180, "augment.rotation_degrees", "allowed: 0 to 180")
        for name in ("brightness", "contrast", "saturation"):
            _check(0 <= getattr(self, name) < 1, f"augment.{name}", "allowed are 0 to below 1")


@dataclasses.dataclass(frozen=True)
class Network:
    """The backbone and the layers between its features and the two outputs."""

    backbone: str
    head_layers: tuple[int, ...]
    dropout: float

    def __post_init__(self) -> None:
        _check(all(n > 0 for n in self.head_layers), "network.head_layers", "units are above 0")
        _check(0 <= self.dropout < 1, "network.dropout", "allowed are 0 to below 1")


@dataclasses.dataclass(frozen=True)
class Head:
    """A phase on frozen, cached features. `views` is how many augmented copies are cached."""

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    views: int

    def __post_init__(self) -> None:
        _check_fitting("head", self.epochs, self.batch, self.learning_rate, self.label_smoothing)
        _check(self.views >= 0, "head.views", "allowed are 0 and above")
        _check(0 <= self.weight_decay < math.inf, "head.weight_decay", "allowed are 0 and above")


@dataclasses.dataclass(frozen=True)
class FineTune:
    """A phase through the network, from the backbone's group `start` upwards.

    `batch_norm` is "frozen" (statistics of the pretrained weights are kept) or "train". `blend` is
    the share of the fine-tuned weights in what is kept.
    """

    start: str
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    batch_norm: str
    blend: float

    def __post_init__(self) -> None:
        _check_fitting(
            "fine_tune", self.epochs, self.batch, self.learning_rate, self.label_smoothing
        )
        _check(
            0 <= self.weight_decay < math.inf, "fine_tune.weight_decay", "allowed are 0 and above"
        )
        allowed = ("frozen", "train")
        _check(self.batch_norm in allowed, "fine_tune.batch_norm", "allowed are frozen, train")
        _check(0 < self.blend <= 1, "fine_tune.blend", "allowed are above 0 to 1")


def _check_fitting(
    section: str, epochs: int, batch: int, learning_rate: float, smoothing: float
) -> None:
    _check(epochs >= 0, f"{section}.epochs", "allowed are 0 and above")
    _check(batch >= 1, f"{section}.batch", "allowed are 1 and above")
    _check(0 < learning_rate <= 1, f"{section}.learning_rate", "allowed are above 0 to 1")
    _check(0 <= smoothing < 1, f"{section}.label_smoothing", "allowed are 0 to below 1")


@dataclasses.dataclass(frozen=True)
class Quantize:
    """Calibration, and fine-tuning under quantization by distillation from float."""

    calibration_pictures: int
    epochs: int
    batch: int
    learning_rate: float

    def __post_init__(self) -> None:
        _check_fitting("quantize", self.epochs, self.batch, self.learning_rate, 0.0)
        _check(self.calibration_pictures >= 1, "quantize.calibration_pictures", "at least 1")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All values; a file names every one of them, `--set` changes some."""

    data: Data
    augment: Augment
    network: Network
    head: Head
    fine_tune: FineTune
    quantize: Quantize

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


def names() -> list[str]:
    """Return the names of the recipes that come with lmedge."""
    files = resources.files("lmedge.train.recipes").iterdir()
    return sorted(Path(file.name).stem for file in files if file.name.endswith(".toml"))


def load_recipe(name: str, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe by its name or path and change it by "section.key=value" settings.

    What a file does not name is taken from the default recipe. Raises RecipeError.
    """
    values = _read("default")
    if name != "default":
        for section, content in _read(name).items():
            if not isinstance(content, dict):
                _fail(section, "stands outside a [section]")
            values.setdefault(section, {}).update(content)
    return _changed(values, settings)


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
    if name in names():
        text = resources.files("lmedge.train.recipes").joinpath(f"{name}.toml").read_text("utf-8")
    else:
        try:
            text = Path(name).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            near = difflib.get_close_matches(name, names(), 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise RecipeError(
                f"no recipe named or at {name!r} (known: {', '.join(names())}){hint}"
            ) from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{name}: not a TOML file ({error})") from error


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word is a string


def _known(prefix: str, given: set[str], allowed: set[str]) -> None:
    for key in sorted(given - allowed):
        near = difflib.get_close_matches(key, allowed, 1, 0.4)
        hint = f"did you mean {prefix}{near[0]}? " if near else ""
        _fail(prefix + key, f"not known; {hint}allowed: {', '.join(sorted(allowed))}")
    for key in sorted(allowed - given):
        _fail(prefix + key, "missing")


def _section(name: str, kind: type, values: Mapping[str, Any]) -> Any:
    if not isinstance(values, Mapping):
        _fail(name, "is a section, not a value")
    fields = typing.get_type_hints(kind)
    _known(f"{name}.", set(values), set(fields))
    return kind(**{key: _typed(f"{name}.{key}", fields[key], values[key]) for key in fields})


def _typed(key: str, kind: Any, value: Any) -> Any:
    """Return `value` as `kind`, one of bool, int, float, str or a tuple of those."""
    if isinstance(kind, types.GenericAlias):
        items = typing.get_args(kind)
        if not isinstance(value, list | tuple):
            _fail(key, f"{value!r} is not a list")
        if items[-1] is Ellipsis:
            return tuple(_typed(key, items[0], item) for item in value)
        if len(value) != len(items):
            _fail(key, f"{value!r} is not a list of {len(items)}")
        return tuple(_typed(key, item, part) for item, part in zip(items, value, strict=True))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        _fail(key, f"{value!r} is not {'a number' if kind in (int, float) else kind.__name__}")
    return value
