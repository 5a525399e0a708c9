"""Files that were read before are not read again; a file that changed is."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import pytest

from lmedge.evaluation.folders import LabelledImage, scan
from lmedge.image import Resize
from lmedge.train.data import inspection, seen
from lmedge.train.data import store as store_module
from lmedge.train.data.seen import SeenFiles, file_state, seen_files
from lmedge.train.data.store import ImageStore
from tests import bad_images, small_run
from tests.in_process import lmedge


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

    for module in (store_module, inspection):
        monkeypatch.setattr(module, "read_encoded", noting)
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


class TestCommands:
    """`lmedge data check` and `lmedge data split`, twice."""

    def check(self, data: Path) -> str:
        done = lmedge("-q", "data", "check", data, "--json", "--min-side", "16")
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def test_a_second_check_reads_no_whole_image_and_finds_the_same(
        self, cache: Path, reads: list[Path], patient: None, photographs: Path
    ) -> None:
        """Damaged images are read again: their decoders' messages are counted anew."""
        damaged = bad_images.truncated_jpeg(photographs / "tower" / "tower" / "half.jpg")
        grey = photographs / "tower" / "tower" / "bordered.png"
        drawn = small_run.draw((9, 9, 9), 5)
        drawn[:20] = 0
        small_run.save(grey, drawn)
        first = self.check(photographs)
        assert len(reads) == 26
        reads.clear()
        assert self.check(photographs) == first
        assert reads == [damaged]

    def test_a_changed_image_and_a_new_copy_are_found(
        self, cache: Path, reads: list[Path], patient: None, photographs: Path
    ) -> None:
        assert '"findings": []' in self.check(photographs)
        reads.clear()
        one, other = sorted((photographs / "bridges" / "old bridge").glob("*.jpg"))[:2]
        time.sleep(0.02)
        other.write_bytes(one.read_bytes())
        copy = photographs / "tower" / "tower" / "copy.jpg"
        copy.write_bytes(one.read_bytes())
        found = self.check(photographs)
        assert sorted(reads) == [other, copy]
        assert "old bridge: the same file 2 times" in found
        assert "old bridge and tower: the same file 3 times" in found

    def test_what_other_versions_found_is_not_used(
        self,
        cache: Path,
        reads: list[Path],
        patient: None,
        photographs: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        first = self.check(photographs)
        reads.clear()
        monkeypatch.setattr(inspection, "_BY", "lmedge of tomorrow")
        assert self.check(photographs) == first
        assert len(reads) == 24

    def test_a_second_split_reads_no_image(
        self, cache: Path, reads: list[Path], patient: None, photographs: Path
    ) -> None:
        for _ in range(2):
            done = lmedge("-q", "data", "split", photographs, "--overwrite")
            assert (done.returncode, done.stderr) == (0, "")
            assert len(reads) == 24


def test_memory_of_a_check_grows_by_a_bounded_number_of_bytes_a_file(
    cache: Path, patient: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above all the thumbnail; a task and a result for every file at once would be another kB."""
    monkeypatch.setattr(seen, "_BATCH", 20)
    drawn = image(tmp_path / "src", 0).path

    def most(count: int) -> int:
        """Return the bytes that Python's objects take at the most."""
        folder = tmp_path / f"{count}" / "towers" / "tower"
        folder.mkdir(parents=True)
        for number in range(count):
            os.link(drawn, folder / f"{number:06d}.png")
        tracemalloc.start()
        try:
            found = scan(tmp_path / f"{count}")
            inspection.inspect_images([(None, one) for one in found], tmp_path)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    most(50)  # what is imported and compiled once
    grown = (most(1300) - most(300)) / 1000
    assert grown < 3000, grown


@pytest.mark.parametrize("damage", [b"no table", b""])
def test_a_damaged_table_is_not_used(damage: bytes, cache: Path, tmp_path: Path) -> None:
    cache.mkdir()
    (cache / "files-2.sqlite").write_bytes(damage)
    images = [image(tmp_path / "data", 0)]
    assert admitted(images) == admitted(images)


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    seen = SeenFiles(tmp_path / "file" / "files.sqlite")
    path = image(tmp_path, 0).path
    state = file_state(path)
    assert state is not None
    seen.keep(path, state, b"0" * 32)
    assert seen.known(path, state) is None
    seen.close()


def test_the_table_is_private(cache: Path) -> None:
    with seen_files():
        pass
    assert (cache / "files-2.sqlite").stat().st_mode & 0o077 == 0
