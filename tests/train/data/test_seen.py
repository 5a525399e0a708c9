"""Files that were read before are not read again; a file that changed is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lmedge.evaluation.folders import LabelledImage
from lmedge.image import Resize
from lmedge.train.data import store as store_module
from lmedge.train.data.seen import SeenFiles, file_state, seen_files
from lmedge.train.data.store import ImageStore
from tests import small_run


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LMEDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read from now on."""
    found: list[Path] = []
    read = store_module.read_encoded

    def noting(path: Path) -> bytes:
        found.append(path)
        return read(path)

    monkeypatch.setattr(store_module, "read_encoded", noting)
    return found


def image(folder: Path, number: int, age: float = 60.0) -> LabelledImage:
    path = small_run.save(folder / f"{number}.png", small_run.draw((90, 90, 90), number))
    os.utime(path, (time.time() - age,) * 2)
    return LabelledImage(path, "tower", "towers")


def admitted(images: list[LabelledImage]) -> list[str]:
    entries, skipped = ImageStore(32, Resize.SQUASH).admit(images)
    assert not skipped
    return [entry.sha256 for entry in entries]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember files that were written just now: their entry's time is that of the test."""
    monkeypatch.setattr("lmedge.train.data.seen.RACY", 0.0)


def test_a_second_run_reads_no_file(
    cache: Path, reads: list[Path], patient: None, tmp_path: Path
) -> None:
    images = [image(tmp_path / "data", number) for number in range(3)]
    first = admitted(images)
    assert len(reads) == 3
    assert admitted(images) == first
    assert len(reads) == 3


def test_a_file_that_changed_is_read_also_with_the_same_size_and_time(
    cache: Path, reads: list[Path], patient: None, tmp_path: Path
) -> None:
    images = [image(tmp_path / "data", number) for number in range(2)]
    first = admitted(images)
    path = images[0].path
    before = path.stat()
    time.sleep(0.02)  # the step of the file system's clock
    path.write_bytes(images[1].path.read_bytes()[: before.st_size].ljust(before.st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert admitted(images)[0] != first[0]
    assert len(reads) == 3


def test_what_was_written_just_now_is_read_again(
    cache: Path, reads: list[Path], tmp_path: Path
) -> None:
    images = [image(tmp_path / "data", 0)]
    assert admitted(images) == admitted(images)
    assert len(reads) == 2


def test_images_that_the_cache_lost_are_read_again(
    cache: Path, reads: list[Path], patient: None, tmp_path: Path
) -> None:
    images = [image(tmp_path / "data", 0)]
    first = admitted(images)
    for path in cache.glob("pictures/*/*.rgb"):
        path.unlink()
    assert admitted(images) == first
    assert len(reads) == 2


@pytest.mark.parametrize("damage", [b"no table", b""])
def test_a_damaged_table_is_not_used(damage: bytes, cache: Path, tmp_path: Path) -> None:
    cache.mkdir()
    (cache / "files-1.sqlite").write_bytes(damage)
    images = [image(tmp_path / "data", 0)]
    assert admitted(images) == admitted(images)


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    seen = SeenFiles(tmp_path / "file" / "files.sqlite")
    path = image(tmp_path, 0).path
    state = file_state(path)
    assert state is not None
    seen.keep(path, state, "0" * 64)
    assert seen.hash_of(path, state) is None
    seen.close()


def test_the_table_is_private(cache: Path) -> None:
    with seen_files():
        pass
    assert (cache / "files-1.sqlite").stat().st_mode & 0o077 == 0
