"""Recipes: every value is checked before the work starts, and a mistake is named with a way out."""

from __future__ import annotations

import dataclasses
import math
import random
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from lmedge.errors import RecipeError
from lmedge.train.recipes import Recipe, load_recipe, parse_recipe, recipe_from, recipe_names


def test_the_recipes_that_come_along_load() -> None:
    assert {"default", "demo"} <= set(recipe_names())
    for name in recipe_names():
        assert isinstance(load_recipe(name), Recipe)


def test_the_default_file_names_every_value() -> None:
    text = resources.files("lmedge.train.recipes").joinpath("default.toml").read_text("utf-8")
    sections = tomllib.loads(text)
    fields = {section: set(values) for section, values in load_recipe("default").as_dict().items()}
    assert {section: set(values) for section, values in sections.items()} == fields


def test_what_a_file_leaves_out_is_taken_from_the_default(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[head]\nepochs = 7\n")
    recipe, default = load_recipe(str(path)), load_recipe("default")
    assert recipe.head == dataclasses.replace(default.head, epochs=7)
    assert recipe.fine_tune == default.fine_tune


def test_a_list_of_numbers_is_read_from_a_setting() -> None:
    plain = ["head.optimizer=adam", "second_head.optimizer=adam"]
    found = load_recipe("default", [*plain, "network.head_layers=[128, 64]"])
    assert found.network.head_layers == (128, 64)


def test_settings_win_and_the_last_one_most(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[head]\nepochs = 7\n")
    assert load_recipe(str(path), ["head.epochs=8", "head.epochs = 9"]).head.epochs == 9


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("augment.crop_scale=[0.5, 0.9]", (0.5, 0.9)),
        ("augment.flip_up_down=true", True),
        ("network.head_layers=[]", ()),
        ("head.learning_rate=1e-4", 1e-4),
        ("head.weight_decay=0", 0.0),  # a whole number where a fraction may stand
        ("data.resize=crop", "crop"),  # a bare word is a string
        ('data.resize="crop"', "crop"),
        (" head.optimizer = adam ", "adam"),
        ("fine_tune.start=block5", ("block5",)),  # one is a list of one
        ("augment.copies=[]", ()),
    ],
)
def test_a_setting_is_read_as_its_kind(setting: str, value: Any) -> None:
    section, _, key = setting.partition("=")[0].strip().partition(".")
    found = getattr(getattr(load_recipe("default", [setting]), section), key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("fine_tune.epoch=3", ["fine_tune.epoch", "did you mean fine_tune.epochs?"]),
        ("heads.epochs=3", ["heads", "did you mean head?"]),
        ("head.qqq=3", ["head.qqq", "allowed: batch, cached, epochs"]),
        ("head.epochs=three", ["head.epochs", "'three' is not a number"]),
        ("head.epochs=1.5", ["head.epochs", "1.5 is not a number"]),
        ("head.epochs=true", ["head.epochs", "True is not"]),
        ("head.learning_rate=true", ["head.learning_rate", "True is not"]),
        ("augment.flip_up_down=1", ["augment.flip_up_down", "1 is not bool"]),
        ("augment.crop_scale=0.5", ["augment.crop_scale", "0.5 is not a list"]),
        ("augment.crop_scale=[0.5]", ["augment.crop_scale", "not a list of 2"]),
        ("network.head_layers=[1.5]", ["network.head_layers", "1.5"]),
        ("data.resize=stretch", ["data.resize", "crop, pad, squash"]),
        ("data.image_size=16", ["data.image_size", "32 to 1024"]),
        ("data.test_size=16", ["data.test_size", "32 to 1024 pixels, or 0"]),
        ("data.val_fraction=0.6", ["data.val_fraction", "0 to 0.5"]),
        ("augment.crop_scale=[0.9, 0.5]", ["augment.crop_scale", "[low, high]"]),
        ("augment.brightness=1", ["augment.brightness", "below 1"]),
        ("augment.crop_aspect=0.5", ["augment.crop_aspect", "1 to 2"]),
        ("network.head_layers=[0]", ["network.head_layers", "above 0"]),
        ("network.dropout=1.0", ["network.dropout", "below 1"]),
        ("head.batch=0", ["head.batch", "1 and above"]),
        ("head.learning_rate=0", ["head.learning_rate", "above 0"]),
        ("head.weight_decay=-1", ["head.weight_decay", "0 and above"]),
        ("fine_tune.weight_decay=-1", ["fine_tune.weight_decay", "0 and above"]),
        ("fine_tune.learning_rate=nan", ["fine_tune.learning_rate"]),
        ("fine_tune.batch_norm=thawed", ["fine_tune.batch_norm", "frozen, train"]),
        ("fine_tune.label_smoothing=1", ["fine_tune.label_smoothing"]),
        ("quantize.epochs=-1", ["quantize.epochs"]),
        ("quantize.calibration_pictures=0", ["quantize.calibration_pictures", "at least 1"]),
        ("head.optimizer=adamm", ["head.optimizer", "did you mean adam"]),
        ("fine_tune.optimizer=discriminant", ["fine_tune.optimizer", "adamw, adam, sgd"]),
        ("second_head.keep=best", ["second_head.keep", "f1, loss, last"]),
        ("head.schedule=linear", ["head.schedule", "cosine, constant"]),
        ("head.shrinkage=0", ["head.shrinkage", "above 0"]),
        ("data.balance=weight", ["data.balance", "did you mean weights?"]),
        ("data.normalisation=none", ["data.normalisation", "stock, unit"]),
        ("data.val_count=-1", ["data.val_count", "0 and above"]),
        ("augment.mixup=-1", ["augment.mixup", "0 to 10"]),
        ('augment.copies=["blur"]', ["augment.copies", "flip_left_right"]),
        ("network.dropout=[0.1, 0.2]", ["network.dropout", "0 head layers"]),
        ("fine_tune.epochs=[1, 2]", ["fine_tune.epochs", "starts (1)"]),
        ("strategy.phase2=distill", ["strategy.phase2", "did you mean distil?"]),
        ("strategy.distil_weight=-1", ["strategy.distil_weight", "0 and above"]),
        ("epochs=3", ["--set epochs=3", "section.key=value"]),
        ("head.epochs", ["--set head.epochs", "section.key=value"]),
        ("=3", ["section.key=value"]),
        ("head.epochs.more=3", ["head.epochs.more"]),
    ],
)
def test_a_mistake_is_named(setting: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("default", [setting])
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("section", ["head", "fine_tune", "quantize"])
@pytest.mark.parametrize("value", ["inf", "nan", "-inf"])
def test_no_value_may_be_endless(section: str, value: str) -> None:
    for key in ("learning_rate", "weight_decay", "label_smoothing"):
        if key in load_recipe("default").as_dict()[section]:
            with pytest.raises(RecipeError, match=f"{section}.{key}"):
                load_recipe("default", [f"{section}.{key}={value}"])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("head = 3\n", "head: stands outside a [section]"),
        ("[head\n", "not a TOML file"),
        ("[head]\nepochs = 'x'\n", "head.epochs"),
        ("[hed]\nepochs = 3\n", "did you mean head?"),
        ("[[head]]\nepochs = 3\n", "head: stands outside a [section]"),
        ("[head.epochs]\nn = 3\n", "head.epochs"),
    ],
)
def test_a_mistake_in_a_file_is_named(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path))
    assert word in str(caught.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(
        RecipeError, match=r"'defualt' \(known: default, demo.*did you mean default"
    ):
        load_recipe("defualt")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"mine\.toml"):
        load_recipe(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("seed", range(20))
def test_what_is_written_reads_the_same(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    values = load_recipe(rng.choice(recipe_names())).as_dict()
    values["head"]["learning_rate"] = rng.uniform(1e-9, 1)
    values["head"]["weight_decay"] = 10 ** rng.uniform(-12, 3)
    values["augment"]["crop_scale"] = sorted(rng.uniform(1e-3, 1) for _ in range(2))
    values["augment"]["flip_up_down"] = rng.random() < 0.5
    for section in ("head", "second_head"):
        values[section]["optimizer"] = rng.choice(["adam", "adamw", "sgd"])
    values["network"]["dropout"] = [rng.random()]
    values["network"]["head_layers"] = [rng.randint(1, 2000) for _ in range(rng.randint(0, 4))]
    values["network"]["backbone"] = "".join(rng.choices("ab\"\\é/#= '", k=8))
    recipe = recipe_from(values)
    (tmp_path / "recipe.toml").write_text(recipe.as_toml(), "utf-8")
    assert load_recipe(str(tmp_path / "recipe.toml")) == recipe


def test_the_closed_form_has_no_head_layers() -> None:
    with pytest.raises(RecipeError, match=r"second_head\.optimizer: .*network\.head_layers"):
        load_recipe("default", ["head.optimizer=adam", "network.head_layers=[8]"])


def test_a_recipe_of_an_earlier_run_has_no_test_size() -> None:
    text = load_recipe("default", ["data.image_size=96"]).as_toml()
    earlier = parse_recipe(text.replace("test_size = 0\n", ""))
    assert earlier == parse_recipe(text)
    assert earlier.data.input_size == 96
    with pytest.raises(RecipeError, match=r"data\.resize: missing"):
        parse_recipe(text.replace('resize = "squash"\n', ""))


def test_the_test_size_is_that_of_the_file() -> None:
    assert load_recipe("default", ["data.test_size=256"]).data.input_size == 256
    assert load_recipe("default").data.input_size == 224


def test_missing_values_are_named() -> None:
    values = load_recipe("default").as_dict()
    del values["head"]["epochs"]
    with pytest.raises(RecipeError, match=r"head\.epochs: missing"):
        recipe_from(values)


def test_a_recipe_is_read_without_tensorflow() -> None:
    """A typing error is said before TensorFlow's seconds."""
    code = (
        "import sys; from lmedge.train.recipes import load_recipe; load_recipe('default');"
        "import lmedge.train.command; assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_defaults_are_those_of_the_documentation() -> None:
    recipe = load_recipe("default")
    assert recipe.data.image_size == 224
    assert not recipe.augment.flip_up_down
    assert recipe.augment.flip_left_right
    assert recipe.fine_tune.batch_norm == "frozen"
    assert recipe.fine_tune.label_smoothing > 0
    assert math.isclose(recipe.augment.crop_scale[1], 1.0)
