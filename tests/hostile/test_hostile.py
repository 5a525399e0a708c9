"""No file makes a command crash, hang, write elsewhere, or print more than a line."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import pytest

from benchmarks.studies.hostile_table import judge, measure
from tests import tiny_file as tiny
from tests.hostile.corpus import KINDS, corpus

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork there")


@pytest.fixture
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "blue.png"
    assert cv2.imwrite(str(path), tiny.image("blue")[..., ::-1])
    return path


def test_the_corpus_is_the_same_each_time(tiny_file: Path) -> None:
    good = tiny_file.read_bytes()
    first, again = (list(corpus(good, len(KINDS), 3)) for _ in range(2))
    assert first == again
    assert {one.kind for one in first} == set(KINDS)
    assert all(one.data != good for one in first)


def test_hostile_files_end_in_one_line(tiny_file: Path, tmp_path: Path, image: Path) -> None:
    found = measure(tiny_file.read_bytes(), 2 * len(KINDS), tmp_path, image, 0)
    assert not found.faults
    assert sum(row.refused for row in found.rows) > 90


@pytest.mark.slow
def test_three_thousand_hostile_files(tiny_file: Path, tmp_path: Path, image: Path) -> None:
    found = measure(tiny_file.read_bytes(), 104 * len(KINDS), tmp_path, image, 1)
    assert not found.faults
    assert sum(row.refused for row in found.rows) > 5000


def test_crashes_and_hangs_are_distinguished() -> None:
    assert judge(-11, "") == "crashed"
    assert judge(None, "") == "hung"
    assert judge(4, "lmedge: one\nlmedge: two") == "wrong"
    assert judge(5, "lmedge: one") == "wrong"
    assert judge(4, "lmedge: one") == "refused"
