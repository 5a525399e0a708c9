"""What the tests of training share: the tiny backbone, weights for it, photographs, one run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import small_run, tiny_backbone

if TYPE_CHECKING:
    from lmedge.train.run import Run


@pytest.fixture(scope="package", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with small_run.own_cache(tmp_path_factory.mktemp("cache")):
        yield


@pytest.fixture(scope="package")
def tiny() -> Iterator[None]:
    with tiny_backbone.installed():
        yield


@pytest.fixture(scope="package")
def tiny_weights(tiny: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_backbone.save_stock_weights(tmp_path_factory.mktemp("weights") / "tiny.h5")


@pytest.fixture(scope="package")
def small_photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photographs of each of four landmarks. Shared: not to be changed."""
    return small_run.write_photographs(tmp_path_factory.mktemp("data") / "photographs")


@pytest.fixture(scope="package")
def finished_run(
    tiny_weights: Path, small_photographs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """A whole small training. Shared: not to be changed."""
    from lmedge.train import training

    out = tmp_path_factory.mktemp("runs") / "finished"
    run = small_run.start(small_photographs, out, tiny_weights)
    training.train_run(run)
    return run
