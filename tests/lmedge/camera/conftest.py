"""The file that tests of lessons teach."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lmedge.camera import Choice
from tests.lmedge.camera import teaching


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A taught file; not to be changed."""
    return teaching.write_taught_file(tmp_path_factory.mktemp("taught"))


@pytest.fixture
def file(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copy(made, tmp_path / "taught.tflite"))


@pytest.fixture
def choice(file: Path) -> Choice:
    """The copy, open for a loop."""
    return Choice([file])
