"""Plan of a comparison: which trials, on which images."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmedge.errors import RecipeError
from lmedge.evaluation import PARTS
from lmedge.train.compare.plan import Setting, settings_of, trials_of
from tests import small_run


def settings(**changed: object) -> list[Setting]:
    values: dict[str, object] = {
        "strategies": "landmarks-first",
        "backbones": None,
        "recipes": "default",
        "vary": (),
        "changes": (),
        "weights": (),
    }
    return settings_of(**{**values, **changed})  # type: ignore[arg-type]


def test_every_combination_once() -> None:
    found = settings(
        strategies="parallel,landmarks-first",
        recipes="default,fast",
        vary=("head.epochs=1,2,3", "data.balance=none,weights"),
    )
    assert len({tuple(one.columns.items()) for one in found}) == len(found) == 2 * 2 * 3 * 2
    assert {one.recipe.head.epochs for one in found} == {1, 2, 3}
    assert {one.recipe.data.balance for one in found} == {"none", "weights"}


def test_all_strategies() -> None:
    assert len(settings(strategies="all")) == 5


def test_lists_are_values_of_their_own() -> None:
    vary = ("network.head_layers=[],[64],[64, 32]",)
    found = settings(vary=vary, changes=("head.optimizer=adam", "second_head.optimizer=adam"))
    assert [one.recipe.network.head_layers for one in found] == [(), (64,), (64, 32)]


def test_weights_of_one_backbone() -> None:
    found = settings(
        backbones="efficientnetb0,efficientnet-lite0", weights=("none", "efficientnet-lite0=x.h5")
    )
    assert [Path(one.weights).name for one in found] == ["none", "x.h5"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"strategies": "landmarks-frist"}, ("landmarks-first",)),
        ({"strategies": "parallel,"}, ("empty name",)),
        ({"backbones": "efficientnet"}, ("did you mean efficientnetb0",)),
        ({"recipes": "studdy"}, ("did you mean study",)),
        ({"vary": ("head.epoch=1,2",)}, ("head.epochs",)),
        ({"vary": ("head.epochs",)}, ("section.key=a,b,c",)),
        ({"vary": ("head.epochs=1,many",)}, ("head.epochs", "many")),
        ({"vary": ("head.epochs=3,3",)}, ("twice",)),
    ],
)
def test_what_cannot_be_is_refused(changed: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError) as caught:
        settings(**changed)
    assert all(word in str(caught.value) for word in words)


def test_folds_test_every_image_once_and_the_same_for_every_setting(tmp_path: Path) -> None:
    data = small_run.write_photographs(tmp_path / "data", 9)
    with small_run.own_cache(tmp_path / "cache"):
        found = trials_of(
            settings(vary=("data.val_fraction=0.1,0.3",), changes=("data.folds=0",)),
            data,
            folds=3,
            seeds=2,
            exclude=None,
            allow_leak=False,
        )
    assert len(found) == 2 * 3 * 2
    assert len({trial.key for trial in found}) == len(found)
    for seed in (0, 1):
        own = [trial for trial in found if trial.repeat.seed == seed]
        tested = [
            [
                sorted(entry.sha256 for entry in trial.split.parts["test"])
                for trial in own
                if trial.setting.recipe.data.val_fraction == share
            ]
            for share in (0.1, 0.3)
        ]
        assert tested[0] == tested[1]
        images = [image for fold in tested[0] for image in fold]
        assert len(set(images)) == len(images) == 36
    validated = {len(trial.split.parts["val"]) for trial in found}
    assert len(validated) == 2


def test_a_cross_fitted_run_learns_from_all_but_the_fold(tmp_path: Path) -> None:
    data = small_run.write_photographs(tmp_path / "data", 6)
    with small_run.own_cache(tmp_path / "cache"):
        found = trials_of(settings(), data, folds=3, seeds=1, exclude=None, allow_leak=False)
    counts = [[len(trial.split.parts[part]) for part in PARTS] for trial in found]
    assert counts == [[16, 0, 8]] * 3


def test_near_duplicates_are_in_one_fold(tmp_path: Path) -> None:
    data = small_run.write_photographs(tmp_path / "data", 6)
    copied = sorted((data / "tower" / "tower").glob("*.jpg"))[:2]
    for number, path in enumerate(copied):
        (path.parent / f"again {number}.jpg").write_bytes(path.read_bytes() + b"\0")
    with small_run.own_cache(tmp_path / "cache"):
        found = trials_of(settings(), data, folds=3, seeds=1, exclude=None, allow_leak=False)
    place = {
        entry.image.path.name: trial.repeat.fold
        for trial in found
        for entry in trial.split.parts["test"]
        if entry.image.landmark == "tower"
    }
    for number, path in enumerate(copied):
        assert place[path.name] == place[f"again {number}.jpg"]
