"""The rows of an export's stages."""

from __future__ import annotations

import itertools
import time

import pytest

from benchmarks.studies.stage_times import MeasuredStages


def test_a_row_a_stage_with_what_was_done_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(100.0, 2.5)  # seconds pass between any two looks at it
    processor = iter([10.0, 10.1, 20.0, 24.0, 30.0, 31.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    stages = MeasuredStages(lambda: next(processor))
    for stage in ("waiting", "working", "working"):
        with stages.timed(stage):
            pass
    waiting, working = stages.rows()
    assert (waiting.stage, working.stage) == ("waiting", "working")
    assert (waiting.seconds, working.seconds) == (2.5, 5.0)
    assert (waiting.processor_seconds, working.processor_seconds) == (0.1, 5.0)
    assert working.peak_mb >= waiting.peak_mb > 10


def test_peak_memory_is_in_megabytes() -> None:
    stages = MeasuredStages()
    with stages.timed("large"):
        large = bytearray(700_000_000)
    (row,) = stages.rows()
    assert row.peak_mb > len(large) / 1e6
