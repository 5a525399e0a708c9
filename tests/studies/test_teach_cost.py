"""The cost of teaching is that of a process that does nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.studies.teach_cost import measure
from lmedge.errors import LmedgeError
from tests.lmedge.teach import small


def test_the_cost_of_a_folder(tmp_path: Path) -> None:
    base = small.write_base(tmp_path / "base.tflite")
    small.write_photographs(tmp_path / "photographs", small.HIERARCHY)
    row = measure(tmp_path / "photographs", base, 1)
    assert (row.data, row.base, row.photographs) == ("photographs", "base", 18)
    assert row.milliseconds_each == pytest.approx(1000 * row.processor_seconds / 18, abs=4)
    assert 20 < row.megabytes < 300
    assert row.file_megabytes < 1


def test_a_lesson_that_fails_has_no_cost(tmp_path: Path) -> None:
    with pytest.raises(LmedgeError, match="has failed"):
        measure(tmp_path / "missing", None, 1)
