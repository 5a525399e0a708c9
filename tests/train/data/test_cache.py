"""How large the cache may grow, and what goes first."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from lmedge.errors import RecipeError
from lmedge.image import Resize
from lmedge.train.data import cache
from lmedge.train.data.store import ImageStore
from lmedge.train.fitting.features import read_features, write_features


def test_the_limit_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, "0.75")
    assert cache.image_limit() == ImageStore(32, Resize.SQUASH).limit == 2**29
    assert cache.feature_limit() == pytest.approx(2**28, abs=1)
    monkeypatch.delenv(cache.VARIABLE)
    assert cache.image_limit() == 4 * 2**30


@pytest.mark.parametrize("given", ["much", "-1", "nan", "inf"])
def test_what_is_no_size_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(cache.VARIABLE, given)
    with pytest.raises(RecipeError, match=f"LMEDGE_CACHE_GB={given}: not a size"):
        cache.image_limit()


def test_the_oldest_go_and_those_being_written_stay(tmp_path: Path) -> None:
    for age, name in enumerate(["new", "old", "oldest", ".being-written"]):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert cache.trim(tmp_path.glob("*"), 300) == 300
    assert cache.trim(tmp_path.glob("*"), 200) == 100
    assert {file.name for file in tmp_path.iterdir()} == {"new", ".being-written"}


class TestFeatureFile:
    def test_blocks_are_one_tensor_that_any_reader_opens(self, tmp_path: Path) -> None:
        values = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
        path = tmp_path / "features.safetensors"
        write_features(path, (10, 3), [values[:4], values[4:]])
        assert np.array_equal(safetensors.numpy.load_file(path)["features"], values)
        found = read_features(path, (10, 3))
        assert np.array_equal(found, values)
        assert isinstance(found.base, np.memmap)

    def test_a_damaged_or_other_file_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "features.safetensors"
        write_features(path, (2, 3), [np.ones((2, 3), np.float32)])
        whole = path.read_bytes()
        with pytest.raises(ValueError, match="does not hold"):
            read_features(path, (3, 2))
        for damaged in (whole[:-1], whole[:20], b"", b"\xff" * 40):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=r".*"):
                read_features(path, (2, 3))

    def test_a_failure_midway_leaves_no_file(self, tmp_path: Path) -> None:
        path = tmp_path / "features.safetensors"

        def blocks() -> object:
            yield np.ones((1, 3), np.float32)
            raise ValueError("stopped")

        with pytest.raises(ValueError, match="stopped"):
            write_features(path, (2, 3), blocks())  # type: ignore[arg-type]
        assert list(tmp_path.iterdir()) == []
