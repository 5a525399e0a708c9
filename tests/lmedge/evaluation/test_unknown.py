"""Thresholds and figures of images that show none of the landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lmedge.errors import DataError
from lmedge.evaluation.unknown import UnknownImages, auroc, list_unknown_images, threshold_for


@pytest.mark.parametrize(
    ("count", "passing"), [(0, 0), (1, 1), (18, 18), (19, 19), (39, 38), (99, 95)]
)
def test_threshold_keeps_the_coverage(count: int, passing: int) -> None:
    known = np.linspace(0.1, 0.9, count)
    assert (known >= threshold_for(known, 0.95)).sum() == passing


def test_a_new_known_image_passes_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.beta(5, 2, (4000, 41))
    passed = [new >= threshold_for(known, 0.9) for *known, new in map(np.array, drawn)]
    assert np.mean(passed) == pytest.approx(1 - 4 / 41, abs=0.015)


def test_unknown_images_leave_room_to_known_images() -> None:
    known = np.linspace(0.8, 0.9, 100)
    alone = threshold_for(known, 0.95)
    between = threshold_for(known, 0.95, np.array([0.1, 0.2, 0.95]))
    assert between == pytest.approx((0.2 + alone) / 2)
    assert threshold_for(known, 0.95, np.array([0.95])) == alone


def test_auroc_counts_ties_as_half() -> None:
    assert auroc(np.array([0.8, 0.9]), np.array([0.1, 0.2])) == 1.0
    assert auroc(np.array([0.5, 0.5]), np.array([0.5])) == 0.5
    assert auroc(np.array([0.1, 0.9]), np.array([0.5])) == 0.5


def test_shares_of_both_kinds_reach_the_threshold() -> None:
    known, unknown = np.array([0.4, 0.6, 0.8, 0.9]), np.array([0.1, 0.6])
    found = UnknownImages.of(known, unknown, 0.6, unreadable=3)
    assert found.as_dict() == {
        "pictures": 2,
        "unreadable": 3,
        "threshold": 0.6,
        "false_accepts": 0.5,
        "kept": 0.75,
        "auroc": 6.5 / 8,
    }


def test_a_folder_with_too_few_images_is_named(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "one.jpg").write_bytes(b"not decoded here")
    assert list_unknown_images(tmp_path) == [tmp_path / "inside" / "one.jpg"]
    with pytest.raises(DataError, match="holds 1 images; --unknown needs a folder of at least 2"):
        list_unknown_images(tmp_path, 2)
    with pytest.raises(DataError, match="gone: no such folder"):
        list_unknown_images(tmp_path / "gone")
