"""A base and photographs, made once for all tests of teaching."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmedge.teach.base import Base
from lmedge.teach.photographs import ReadPhotographs, read_photographs
from tests.lmedge.teach import small


@pytest.fixture(scope="package")
def teach_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base.tflite`, `first/` and `more/`: photographs of three landmarks and of two others."""
    folder = tmp_path_factory.mktemp("teach")
    small.write_base(folder / "base.tflite")
    small.write_photographs(folder / "first", small.HIERARCHY)
    small.write_photographs(folder / "more", small.MORE)
    return folder


@pytest.fixture(scope="package")
def base(teach_folder: Path) -> Base:
    """The base, opened."""
    return Base.open(teach_folder / "base.tflite")


@pytest.fixture(scope="package")
def first(teach_folder: Path, base: Base) -> ReadPhotographs:
    """The features of the first photographs."""
    return read_photographs(teach_folder / "first", base.backbone)


@pytest.fixture(scope="package")
def more(teach_folder: Path, base: Base) -> ReadPhotographs:
    """The features of the others."""
    return read_photographs(teach_folder / "more", base.backbone)
