"""The table of scores for unknown landmarks: what it learns from, and what it counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies import unknown_coverage
from benchmarks.studies.unknown_candidates import Group, Measured
from lmedge.model_file import HEADS

LANDMARKS, FEATURES = 4, 240
RNG = np.random.default_rng(0)
CENTRES = np.abs(RNG.normal(0, 1, (LANDMARKS + 6, FEATURES)))
KERNEL = CENTRES[:LANDMARKS].T / 12


def group(centres: list[int], each: int, label: list[object]) -> Group:
    """Return noisy images of some centres; the heads are linear in the features."""
    noise = RNG.normal(0, 0.7, (len(centres) * each, FEATURES))
    raw = np.maximum(np.repeat(CENTRES[centres], each, axis=0) + noise, 0)
    logits = dict.fromkeys(HEADS, raw @ KERNEL)
    return Group(raw, logits, np.repeat(np.array(label), each))


@pytest.fixture(scope="module")
def rows() -> list[unknown_coverage.CoverageRow]:
    known = list(range(LANDMARKS))
    groups = {part: group(known, 12, known) for part in ("train", "val", "test")}
    near = group(list(range(LANDMARKS, LANDMARKS + 6)), 8, list("abcdef"))
    groups |= {"near": near, "other": group([LANDMARKS], 6, ["thing"])}
    measured = Measured(groups, np.arange(LANDMARKS), dict.fromkeys(HEADS, 0.5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unknown_coverage, "SEEDS", 2)
        patch.setattr(unknown_coverage, "RESAMPLES", 50)
        return unknown_coverage.measure("drawn", measured)


def test_every_score_has_a_row(rows: list[unknown_coverage.CoverageRow]) -> None:
    kinds = {(row.exposed, row.score) for row in rows}
    assert len(kinds) == len(rows)
    assert {row.exposed for row in rows} == {"none", "landmarks", "other things", "both"}
    assert {("none", "known"), ("landmarks", "known"), ("none", "leave one landmark out")} <= kinds
    for row in rows:
        assert 0 <= row.near_low <= row.near + 1e-9 <= row.near_high + 0.2 <= 100.2
        assert 0.5 <= row.auroc <= 1
        assert all(0 <= share <= 100 for share in (row.other, row.kept, row.near_by_val))


def test_images_of_other_landmarks_are_thinned(tmp_path: Path) -> None:
    for landmark in ("known", "x", "y"):
        (tmp_path / landmark).mkdir()
        for number in range(5):
            (tmp_path / landmark / f"{number}.jpg").touch()
    found = unknown_coverage._near(tmp_path, {"known"}, 3)
    assert {path.parent.name for path in found} == {"x", "y"}
    assert len(found) == 6
