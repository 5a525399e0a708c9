"""Fixtures of all tests: a real file, and photographs that it can tell apart."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from tests import tiny_file as tiny
from tests.locations import ROOT


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of studies by their folder."""
    if item.path.is_relative_to(ROOT / "tests" / "studies"):
        item.add_marker("study")


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real int8 file of four landmarks, told apart by colour; made once."""
    return tiny.make(tmp_path_factory.mktemp("tiny") / "tiny.tflite")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two photographs of each landmark of the tiny file, in <category>/<landmark>/."""
    folder = tmp_path / "photographs"
    for landmark in tiny.TAXONOMY.landmarks:
        inside = folder / tiny.TAXONOMY.category_of(landmark) / landmark
        inside.mkdir(parents=True)
        for number in range(2):
            bgr = tiny.image(landmark)[..., ::-1]
            assert cv2.imwrite(str(inside / f"{number}.jpg"), bgr)
    return folder
