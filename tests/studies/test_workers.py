"""The study of several workers: each reads its share, and the slowest counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.studies.worker_throughput import rate_of
from tests.studies.running import read, run


def test_the_slowest_worker_counts() -> None:
    one = {"images": 90, "files": 60, "decode": 2, "decode_cpu": 1, "pipeline": 3}
    one |= {"pipeline_cpu": 1, "training": 9, "training_cpu": 4.5}
    other = {**one, "files": 40, "decode": 4, "pipeline": 1.5, "training_cpu": 9}
    found = rate_of([one, other])
    assert (found.workers, found.images, found.read_by_one) == (2, 90, 60)
    assert (found.decode, found.decode_cpu) == (25, 100)
    assert (found.pipeline, found.training, found.training_cpu) == (30, 10, 10)
    del one["training"]
    assert rate_of([one]).training is None


@pytest.mark.study
def test_two_workers_read_a_share_each(tmp_path: Path) -> None:
    out = tmp_path / "workers.csv"
    words = ["--workers", "1,2", "--images", 32, "--side", 128, "--size", 32, "--no-training"]
    done = run("-m", "benchmarks.studies.worker_throughput", *words, "--out", out)
    assert done.returncode == 0, done.stderr
    comments, (alone, both) = read(out)
    assert comments[2].startswith("# data: 32 drawn photographs of 128 x 96 pixels")
    assert (alone["workers"], both["workers"]) == ("1", "2")
    assert alone["read_by_one"] == "32" and 16 <= int(both["read_by_one"]) < 26
    assert alone["images"] == both["images"] and 16 < int(alone["images"]) < 32
    for row in (alone, both):
        assert all(float(row[name]) > 0 for name in ("decode", "decode_cpu", "pipeline"))
        assert row["training"] == ""
