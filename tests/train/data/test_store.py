"""Images: what cannot be read is named and skipped; the cache is keyed by content, bounded."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lmedge.errors import DataError
from lmedge.evaluation.folders import LabelledImage
from lmedge.image import Resize, prepare, read_image
from lmedge.train.data.store import ImageEntry, ImageStore
from tests import bad_images, small_run


def labelled(*paths: Path) -> list[LabelledImage]:
    return [LabelledImage(path, "tower", "towers") for path in paths]


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(32, Resize.SQUASH, tmp_path / "cache")


@pytest.fixture
def good(tmp_path: Path) -> list[Path]:
    return [
        small_run.save(tmp_path / f"good {n}.png", small_run.draw((90, 90, 90), n))
        for n in range(3)
    ]


def as_device(path: Path) -> np.ndarray:
    return prepare(read_image(path), 32, Resize.SQUASH)


def test_a_large_jpeg_is_decoded_as_on_the_device(store: ImageStore, tmp_path: Path) -> None:
    """At the scale that each copy needs: here a half for the input, the whole for the views."""
    large = np.random.default_rng(0).integers(0, 256, (85, 90, 3), np.uint8)
    path = small_run.save(tmp_path / "large.jpg", large)
    (entry,) = admit(store, [path])
    on_device = prepare(read_image(path, 32), 32, Resize.SQUASH)
    np.testing.assert_array_equal(store.prepared(entry), on_device)
    assert not np.array_equal(on_device, as_device(path))
    views = prepare(read_image(path, store.work_size), store.work_size, Resize.SQUASH)
    np.testing.assert_array_equal(store.working(entry), views)


def cached(store: ImageStore) -> list[Path]:
    return sorted(store.folder.rglob("*.rgb"))


def admit(store: ImageStore, paths: Sequence[Path]) -> list[ImageEntry]:
    entries, skipped = store.admit(labelled(*paths))
    assert skipped == []
    return entries


class TestSkipped:
    def test_bad_images_are_named_with_a_reason_and_the_rest_is_kept(
        self,
        store: ImageStore,
        good: list[Path],
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        (tmp_path / "empty.jpg").touch()
        bad = [
            bad_images.truncated_jpeg(tmp_path / "truncated.jpg"),
            bad_images.text(tmp_path / "text.jpg"),
            bad_images.enormous_png(tmp_path / "enormous.png"),
            tmp_path / "empty.jpg",
            tmp_path / "gone.jpg",
        ]
        mixed = [bad[0], good[0], *bad[1:3], good[1], *bad[3:], good[2]]
        with caplog.at_level(logging.WARNING, "lmedge"):
            entries, skipped = store.admit(labelled(*mixed))
        assert [entry.image.path for entry in entries] == good
        assert len(skipped) == len(bad)
        for path, reason in zip(bad, skipped, strict=True):
            assert reason.startswith(f"{path}: ")
            assert len(reason) > len(f"{path}: ") + 5
            assert f"skipped {reason}" in caplog.messages

    def test_a_folder_under_the_name_of_a_image(self, store: ImageStore, tmp_path: Path) -> None:
        (tmp_path / "folder.jpg").mkdir()
        entries, skipped = store.admit(labelled(tmp_path / "folder.jpg"))
        assert entries == []
        assert "folder.jpg: a folder, not an image" in skipped[0]

    @pytest.mark.skipif(os.name != "posix", reason="file names are text elsewhere")
    def test_a_name_that_is_no_text(
        self, store: ImageStore, good: list[Path], tmp_path: Path
    ) -> None:
        """As an archive from an old computer leaves them: no text file could hold it."""
        path = tmp_path / os.fsdecode(b"caf\xe9.png")
        good[0].rename(path)
        entries, skipped = store.admit(labelled(path, *good[1:]))
        assert [entry.image.path for entry in entries] == good[1:]
        assert "caf\N{REPLACEMENT CHARACTER}.png: its name is not valid UTF-8" in skipped[0]
        skipped[0].encode()


class TestCache:
    def test_prepared_is_what_the_device_sees(self, good: list[Path], tmp_path: Path) -> None:
        for resize in Resize:
            store = ImageStore(32, resize, tmp_path / "cache")
            (entry,) = admit(store, good[:1])
            expected = prepare(read_image(good[0]), 32, resize)
            assert np.array_equal(store.prepared(entry), expected)
            assert store.working(entry).dtype == np.uint8
            assert min(store.working(entry).shape[:2]) >= store.work_size > 32

    def test_nothing_is_decoded_twice(
        self, store: ImageStore, good: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = store.prepared_many(admit(store, good))
        monkeypatch.setattr("lmedge.train.data.store.decode_image", None)
        again = ImageStore(32, Resize.SQUASH, store.folder)
        assert np.array_equal(again.prepared_many(admit(again, good)), first)

    def test_sizes_and_policies_do_not_meet(self, good: list[Path], tmp_path: Path) -> None:
        stores = [
            ImageStore(size, resize, tmp_path / "cache") for size in (32, 37) for resize in Resize
        ]
        for store in stores:
            admit(store, good)
        for store in stores:
            (entry,) = admit(store, good[:1])
            expected = prepare(read_image(good[0]), store.size, store.resize)
            assert np.array_equal(store.prepared(entry), expected)

    def test_the_same_image_under_another_name_is_kept_once(
        self, store: ImageStore, good: list[Path], tmp_path: Path
    ) -> None:
        (before,) = admit(store, good[:1])
        files = cached(store)
        good[0].rename(tmp_path / "renamed.png")
        (after,) = admit(store, [tmp_path / "renamed.png"])
        assert after.sha256 == before.sha256
        assert cached(store) == files

    def test_a_changed_image_is_read_again(self, store: ImageStore, good: list[Path]) -> None:
        (before,) = admit(store, good[:1])
        old = store.prepared(before)
        good[1].replace(good[0])
        (after,) = admit(store, good[:1])
        assert after.sha256 != before.sha256
        assert np.array_equal(store.prepared(after), as_device(good[0]))
        assert np.array_equal(store.prepared(before), old)

    @pytest.mark.parametrize(
        "damage", [b"", b"\0\0\0", b"\x01\0\0\0\xff\0\0\0pixels", b"\x80\x04pickle"]
    )
    def test_a_damaged_file_is_made_anew(
        self, store: ImageStore, good: list[Path], damage: bytes
    ) -> None:
        (entry,) = admit(store, good[:1])
        expected = store.prepared(entry), store.working(entry)
        for file in cached(store):
            file.write_bytes(damage)
        assert np.array_equal(store.prepared(entry), expected[0])
        assert np.array_equal(store.working(entry), expected[1])

    def test_it_may_be_deleted_at_any_time(self, store: ImageStore, good: list[Path]) -> None:
        entries = admit(store, good)
        expected = store.prepared_many(entries)
        for file in cached(store):
            file.unlink()
        assert np.array_equal(store.prepared_many(entries), expected)

    @pytest.mark.parametrize("folder", ["/dev/null/cache", "/proc/cache"])
    def test_a_cache_that_cannot_be_written_costs_time_alone(
        self, store: ImageStore, good: list[Path], folder: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        without = ImageStore(32, Resize.SQUASH, Path(folder))
        entries, skipped = without.admit(labelled(*good))
        assert skipped == [] and len(entries) == len(good)
        kept = store.admit(labelled(*good))[0]
        assert np.array_equal(without.prepared_many(entries), store.prepared_many(kept))
        (line,) = caplog.messages  # once
        assert f"cannot write {folder}" in line and "LMEDGE_CACHE" in line

    def test_a_image_that_changed_since_is_refused(
        self, store: ImageStore, good: list[Path]
    ) -> None:
        (entry,) = admit(store, good[:1])
        for file in cached(store):
            file.unlink()
        good[1].replace(good[0])
        with pytest.raises(DataError, match=r"good 0\.png: changed since the run began"):
            store.prepared(entry)
        good[0].unlink()
        with pytest.raises(DataError, match=r"good 0\.png: cannot be read"):
            store.working(entry)

    def test_the_folder_is_that_of_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, good: list[Path]
    ) -> None:
        monkeypatch.setenv("LMEDGE_CACHE", str(tmp_path / "elsewhere"))
        store = ImageStore(32, Resize.SQUASH)
        admit(store, good)
        assert cached(store)
        assert store.folder.is_relative_to(tmp_path / "elsewhere")


class TestBound:
    def size(self, store: ImageStore) -> int:
        return sum(file.stat().st_size for file in cached(store))

    def test_what_was_used_longest_ago_goes_first(
        self, store: ImageStore, good: list[Path]
    ) -> None:
        entries = admit(store, good)
        total = self.size(store)
        for age, entry in zip((300, 100, 200), entries, strict=True):
            for file in store.folder.glob(f"??/{entry.sha256}-*.rgb"):
                os.utime(file, (file.stat().st_atime - age, file.stat().st_mtime - age))
        small = ImageStore(32, Resize.SQUASH, store.folder, limit=int(total * 0.8))
        small.admit([])
        left = {file.name.split("-")[0] for file in cached(store)}
        assert self.size(store) <= 0.8 * total
        assert left == {entries[1].sha256, entries[2].sha256}

    def test_reading_counts_as_use(self, store: ImageStore, good: list[Path]) -> None:
        entries = admit(store, good)
        for file in cached(store):
            os.utime(file, (1, 1))
        store.prepared(entries[0])
        store.working(entries[0])
        ImageStore(32, Resize.SQUASH, store.folder, limit=self.size(store) // 2).admit([])
        assert {file.name.split("-")[0] for file in cached(store)} == {entries[0].sha256}

    def test_a_bound_below_the_data_set_only_costs_time(
        self, good: list[Path], tmp_path: Path
    ) -> None:
        store = ImageStore(32, Resize.SQUASH, tmp_path / "cache", limit=1)
        entries = admit(store, good)
        assert self.size(store) <= 1
        expected = [as_device(path) for path in good]
        assert np.array_equal(store.prepared_many(entries), np.stack(expected))

    def test_files_of_another_run_may_go_and_come(
        self, store: ImageStore, good: list[Path]
    ) -> None:
        """Two runs share the cache: what one writes or removes meanwhile is no error."""
        admit(store, good)
        place = store.folder / "00"
        place.mkdir(exist_ok=True)
        (place / "gone.rgb").symlink_to(place / "nowhere")
        (place / ".being-written.rgb").write_bytes(b"half")
        ImageStore(32, Resize.SQUASH, store.folder, limit=1).admit([])
        assert (place / ".being-written.rgb").exists()

    def test_reading_does_not_parse_python(
        self, store: ImageStore, good: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Python 3.11 before 3.11.8 cannot parse in two threads at once; np.load would."""
        (entry,) = admit(store, good[:1])
        monkeypatch.setattr("ast.parse", None)
        assert store.prepared(entry).shape == (32, 32, 3)
        assert store.working(entry).shape[2] == 3

    def test_room_enough_loses_nothing(self, store: ImageStore, good: list[Path]) -> None:
        admit(store, good)
        files = cached(store)
        ImageStore(32, Resize.SQUASH, store.folder, limit=self.size(store)).admit([])
        assert cached(store) == files
