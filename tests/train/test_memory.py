"""A data set larger than the memory allowed for it trains: nothing holds all images at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train import memory


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_twenty_thousand_images_in_little_memory(tiny_weights: Path, tmp_path: Path) -> None:
    taken, said = memory.train(20_000, tiny_weights, tmp_path)
    assert taken is not None, said
    assert taken.grown <= memory.LIMIT_MB * 2**20
    assert (tmp_path / "runs" / "many" / "weights.safetensors").exists()
    cached = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert 0 < sum(file.stat().st_size for file in cached) <= memory.CACHE_GB * 2**30
