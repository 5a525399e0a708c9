"""Fixtures of all tests: a real file, and photographs that it can tell apart."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest

from tests import kept, quick, small_run, tiny_backbone
from tests.locations import ROOT
from tests.tiny_file import TAXONOMY, image

if TYPE_CHECKING:
    from lmedge.train.run import Run


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make test-quick`."""
    text = "Skip each test as soon as it asks for TensorFlow or another process."
    parser.addoption("--quick", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Prepare this process: signals, and with --quick no TensorFlow and no other processes."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job, inherited
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup, inherited
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # The process that starts the workers of pytest-xdist has to start them
    shares_out = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if config.getoption("quick") and not shares_out:
        quick.install()
        # What was opened for a process that did not start is closed by the collector
        config.addinivalue_line("filterwarnings", "ignore::ResourceWarning")
        config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnraisableExceptionWarning")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of studies by their folder."""
    if item.path.is_relative_to(ROOT / "tests" / "studies"):
        item.add_marker("study")


@pytest.fixture(scope="session")
def tiny_file() -> Iterator[Path]:
    """A real int8 file of four landmarks, told apart by colour. Shared: not to be changed."""
    with unchanged("tiny") as folder:
        yield folder / "tiny.tflite"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep decoded images in a folder of this session."""
    with small_run.own_cache(tmp_path_factory.mktemp("cache")):
        yield


@pytest.fixture(scope="session")
def tiny() -> Iterator[None]:
    """Make the tiny backbone known."""
    with tiny_backbone.installed():
        yield


@pytest.fixture(scope="session")
def small_folder() -> Iterator[Path]:
    """Photographs, stock weights, a finished run and a cross-fitted one. Shared: not changed."""
    with unchanged("run") as folder:
        yield folder


@pytest.fixture(scope="session")
def small_photographs(small_folder: Path) -> Path:
    """Twelve photographs of each of four landmarks. Shared: not to be changed."""
    return small_folder / "photographs"


@pytest.fixture(scope="session")
def tiny_weights(tiny: None, small_folder: Path) -> Path:
    """Stock weights of the tiny backbone. Shared: not to be changed."""
    return small_folder / "tiny.h5"


@pytest.fixture(scope="session")
def finished_run(tiny: None, small_folder: Path) -> Run:
    """A whole small training. Shared: not to be changed; a test that changes a run copies it."""
    from lmedge.train.run import Run

    return Run.open(small_folder / "run")


@pytest.fixture(scope="session")
def cross_fitted_run(tiny: None, small_folder: Path) -> Run:
    """A run that has learned every photograph, with its out-of-fold answers. Shared likewise."""
    from lmedge.train.run import Run

    return Run.open(small_folder / "cross-fitted")


@contextlib.contextmanager
def unchanged(name: str) -> Iterator[Path]:
    """Give a kept folder, and fail afterwards if a test changed it."""
    folder = kept.folder(name)
    before = kept.digest(folder)
    yield folder
    assert kept.digest(folder) == before, f"a test changed {folder}"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two photographs of each landmark of the tiny file, in <category>/<landmark>/."""
    folder = tmp_path / "photographs"
    for landmark in TAXONOMY.landmarks:
        inside = folder / TAXONOMY.category_of(landmark) / landmark
        inside.mkdir(parents=True)
        for number in range(2):
            bgr = image(landmark)[..., ::-1]
            assert cv2.imwrite(str(inside / f"{number}.jpg"), bgr)
    return folder
