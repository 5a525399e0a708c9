"""Images of anything else in a data set: which are read, what is refused, what the run keeps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lmedge.errors import DataError, RunError
from lmedge.export.verification.rejection import not_learned
from lmedge.image import Resize
from lmedge.train.data.preparation import SplitOptions, prepare_split
from lmedge.train.data.split import Split
from lmedge.train.data.store import ImageStore
from lmedge.train.data.unlabelled import prepare_unknown, read_unlabelled
from lmedge.train.run import Run
from tests import small_run
from tests.in_process import lmedge
from tests.train.data.conftest import run_check

WHOLE = SplitOptions(seed=0, val_fraction=0.0, test_fraction=0.0)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(small_run.SIZE, Resize.SQUASH, tmp_path / "cache")


def add(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        small_run.save(folder / name, small_run.draw((90, 90, 90), 9_000 + number))
    return folder


def split_of(data: Path, store: ImageStore) -> Split:
    return prepare_split(data, store, WHOLE)[0]


def test_they_are_read_and_are_no_labels(photographs: Path, store: ImageStore) -> None:
    before, checked = split_of(photographs, store), len(run_check(photographs).seen)
    add(photographs / "unknown", "b.jpg", "trees/a.jpg")
    shutil.copy(photographs / "unknown/b.jpg", photographs / "unknown/c.jpg")
    (photographs / "unknown/broken.jpg").write_bytes(b"no image")
    split = split_of(photographs, store)
    assert split.taxonomy() == before.taxonomy()
    assert split.digest() == before.digest()
    assert len(run_check(photographs).seen) == checked
    entries, skipped = prepare_unknown(photographs, None, store, split)
    assert sorted(entry.image.path.name for entry in entries) == ["a.jpg", "c.jpg"]  # each once
    assert len(skipped) == 1
    assert "broken.jpg" in skipped[0]
    assert prepare_unknown(photographs / "bridges", None, store, split) == ((), [])


def test_a_folder_elsewhere_replaces_it(
    photographs: Path, store: ImageStore, tmp_path: Path
) -> None:
    add(photographs / "unknown", "a.jpg")
    given = add(tmp_path / "elsewhere", "x/1.jpg", "2.jpg")
    entries, _ = prepare_unknown(photographs, given, store, split_of(photographs, store))
    assert {entry.image.path.parent.name for entry in entries} == {"x", "elsewhere"}


def test_what_cannot_be_used(photographs: Path, store: ImageStore, tmp_path: Path) -> None:
    split = split_of(photographs, store)
    with pytest.raises(DataError, match="none: no such folder"):
        prepare_unknown(photographs, tmp_path / "none", store, split)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/1.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="bad: none of the 1 images could be read"):
        prepare_unknown(photographs, tmp_path / "bad", store, split)
    image = split.parts["train"][0].image
    add(photographs / "unknown", "1.jpg")
    shutil.copy(image.path, photographs / "unknown/2.jpg")
    with pytest.raises(DataError, match=f"the same file as .* '{image.landmark}'; remove one"):
        prepare_unknown(photographs, None, store, split)


@pytest.mark.timeout(30)
def test_a_list_is_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a file"):
        read_unlabelled(tmp_path / "pipe")


def test_a_cell_without_end(tmp_path: Path) -> None:
    path = tmp_path / "unknown.csv"
    path.write_text("sha256,path\n" + "a" * 200_000, "utf-8")
    with pytest.raises(RunError, match="is not part of a list"):
        read_unlabelled(path)


class TestRunFolder:
    @pytest.fixture
    def begun(self, photographs: Path, tmp_path: Path, tiny_weights: Path) -> Run:
        add(photographs / "unknown", "1.jpg", "2.jpg", "3.jpg")
        return small_run.start(photographs, tmp_path / "run", tiny_weights)

    def test_the_list_is_kept(self, begun: Run) -> None:
        opened = Run.open(begun.folder)
        assert opened.unknown == begun.unknown
        assert opened.unknown_images()[:].shape == (3, small_run.SIZE, small_run.SIZE, 3)
        assert "unknown" not in {*opened.taxonomy.landmarks, *opened.taxonomy.categories}

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (lambda text: text.rsplit("\n", 2)[0] + "\n", "put the file back"),
            (lambda text: text.replace("sha256,", ""), "line 2"),
        ],
    )
    def test_a_damaged_list(self, begun: Run, damage: Callable[[str], str], words: str) -> None:
        path = begun.folder / "unknown.csv"
        path.write_text(damage(path.read_text("utf-8")), "utf-8")
        with pytest.raises(RunError, match=words):
            Run.open(begun.folder)
        path.unlink()
        with pytest.raises(RunError, match=r"unknown\.csv is missing"):
            Run.open(begun.folder)

    def test_images_that_were_learned_do_not_test(self, begun: Run, tmp_path: Path) -> None:
        own = [entry.image.path for entry in begun.unknown]
        assert not_learned([], begun) == []
        others = [
            small_run.save(tmp_path / f"{n}.png", small_run.draw((9, 9, 9), n)) for n in (1, 2)
        ]
        assert not_learned([own[0], *others], begun) == others
        with pytest.raises(DataError, match="1 of 4 images are not among"):
            not_learned([*own, others[0]], begun)


def test_a_missing_folder_is_said_before_the_photographs_are_read(tmp_path: Path) -> None:
    """The photographs of this call are missing as well."""
    done = lmedge("train", tmp_path / "none", "--unknown", tmp_path / "nope", "--weights", "none")
    assert done.returncode == 3
    assert "nope: no such folder; check the name behind --unknown" in done.stderr
