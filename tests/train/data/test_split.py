"""The split: seeded, stratified, and the same photograph never on two sides."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from lmedge.errors import DataError, RunError
from lmedge.evaluation import PARTS
from lmedge.evaluation.folders import LabelledImage, scan
from lmedge.image import Resize, read_image
from lmedge.train.data.similar import near_duplicates
from lmedge.train.data.split import Split, label_indices, make_split
from lmedge.train.data.store import ImageEntry, ImageStore
from tests import small_run
from tests.locations import PHOTOGRAPHS, needs


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return ImageStore(64, Resize.SQUASH, tmp_path_factory.mktemp("cache"))


def admit(store: ImageStore, folder: Path) -> list[ImageEntry]:
    entries, skipped = store.admit(scan(folder))
    assert not skipped
    return entries


def split(store: ImageStore, given: Mapping[str, list[ImageEntry]], seed: int = 0) -> Split:
    return make_split(given, store, val_fraction=0.15, test_fraction=0.2, seed=seed)


def paths(split: Split, part: str) -> set[Path]:
    return {entry.image.path for entry in split.parts[part]}


def counts(split: Split, part: str) -> Counter[str]:
    return Counter(entry.image.landmark for entry in split.parts[part])


@pytest.fixture(scope="module")
def entries(store: ImageStore, small_photographs: Path) -> list[ImageEntry]:
    return admit(store, small_photographs)


class TestCut:
    def test_each_landmark_gives_its_share(
        self, store: ImageStore, entries: list[ImageEntry]
    ) -> None:
        found = split(store, {"train": entries})
        assert set(counts(found, "val").values()) == {2}  # of 12: 0.15 -> 2, 0.2 -> 2
        assert set(counts(found, "test").values()) == {2}
        assert set(counts(found, "train").values()) == {8}
        assert len(counts(found, "train")) == len(small_run.LANDMARKS)

    def test_every_image_is_in_one_part(self, store: ImageStore, entries: list[ImageEntry]) -> None:
        found = split(store, {"train": entries})
        everything = [entry for part in PARTS for entry in found.parts[part]]
        assert sorted(map(id, everything)) == sorted(map(id, entries))

    def test_the_seed_decides(self, store: ImageStore, entries: list[ImageEntry]) -> None:
        first, again, other = (split(store, {"train": entries}, seed) for seed in (0, 0, 1))
        assert first == again
        assert first.digest() == again.digest() != other.digest()
        for part in ("val", "test"):
            assert paths(first, part) != paths(other, part)

    def test_the_order_of_the_images_does_not_matter_elsewhere(
        self, store: ImageStore, entries: list[ImageEntry], small_photographs: Path
    ) -> None:
        """A landmark that is added leaves the split of the others as it was."""
        without = [entry for entry in entries if entry.image.landmark != "tower"]
        whole, less = split(store, {"train": entries}), split(store, {"train": without})
        for part in PARTS:
            kept = {path for path in paths(whole, part) if path.parent.name != "tower"}
            assert kept == paths(less, part)

    def test_two_images_are_enough(self, store: ImageStore, tmp_path: Path) -> None:
        small_run.write_photographs(tmp_path, 2)
        found = split(store, {"train": admit(store, tmp_path)})
        assert set(counts(found, "train").values()) == {1}

    def test_counts_go_before_fractions(self, store: ImageStore, entries: list[ImageEntry]) -> None:
        found = make_split(
            {"train": entries},
            store,
            val_fraction=0.15,
            test_fraction=0.0,
            counts={"val": 0, "test": 3},
            seed=0,
        )
        assert set(counts(found, "test").values()) == {3}
        assert set(counts(found, "val").values()) == {2}

    def test_no_share_no_part(self, store: ImageStore, entries: list[ImageEntry]) -> None:
        found = make_split({"train": entries}, store, val_fraction=0.0, test_fraction=0.0, seed=0)
        assert not found.parts["val"]
        assert not found.parts["test"]
        assert len(found.parts["train"]) == len(entries)


class TestGiven:
    @pytest.fixture
    def given(self, entries: list[ImageEntry]) -> dict[str, list[ImageEntry]]:
        """A third of the images of each landmark for each part."""
        return {part: entries[number::3] for number, part in enumerate(PARTS)}

    def test_all_parts_are_used_as_they_are(
        self, store: ImageStore, given: dict[str, list[ImageEntry]]
    ) -> None:
        found = split(store, given)
        for part in PARTS:
            assert sorted(map(id, found.parts[part])) == sorted(map(id, given[part]))

    def test_val_is_cut_from_train_beside_a_test_part(
        self, store: ImageStore, given: dict[str, list[ImageEntry]]
    ) -> None:
        del given["val"]
        found = split(store, given)
        train = {entry.image.path for entry in given["train"]}
        assert sorted(map(id, found.parts["test"])) == sorted(map(id, given["test"]))
        assert paths(found, "val") | paths(found, "train") == train
        assert set(counts(found, "val").values()) == {1}

    def test_no_test_part_is_made_beside_a_val_part(
        self, store: ImageStore, given: dict[str, list[ImageEntry]]
    ) -> None:
        del given["test"]
        found = split(store, given)
        assert not found.parts["test"]
        assert len(found.parts["train"]) == len(given["train"])

    def test_a_landmark_that_is_not_trained_on(
        self, store: ImageStore, given: dict[str, list[ImageEntry]]
    ) -> None:
        given["train"] = [e for e in given["train"] if e.image.landmark != "old bridge"]
        with pytest.raises(DataError, match="the val part shows 'old bridge'"):
            split(store, given)


class TestTooFew:
    def test_one_image(self, store: ImageStore, tmp_path: Path) -> None:
        small_run.write_photographs(tmp_path, 3)
        lonely = tmp_path / "tower" / "lonely tower"
        small_run.save(lonely / "1.jpg", small_run.draw((9, 90, 90), 5))
        with pytest.raises(DataError, match="'lonely tower' has 1 image") as caught:
            split(store, {"train": admit(store, tmp_path)})
        assert str(lonely) in str(caught.value)
        assert "add at least 1 more" in str(caught.value)

    def test_one_image_is_enough_beside_a_val_part(
        self, store: ImageStore, entries: list[ImageEntry]
    ) -> None:
        first = {entry.image.landmark: entry for entry in entries}
        found = split(store, {"train": list(first.values()), "val": entries[:1]})
        assert len(found.parts["train"]) == len(first)


def disguises(image: np.ndarray) -> dict[str, np.ndarray]:
    """Return the same photograph as people keep it a second time."""
    height, width = image.shape[:2]
    y, x = height // 66, width // 66  # 1.5 % from each side; from 2 % on some are not found
    quarter = (width // 2, height // 2)
    darker = np.clip(image.astype(np.float32) * 0.85, 0, 255).astype(np.uint8)
    return {
        "smaller": cv2.resize(image, quarter, interpolation=cv2.INTER_AREA).astype(np.uint8),
        "cropped": image[y : height - y, x : width - x],
        "mirrored": image[:, ::-1],
        "darker": darker,
    }


@needs(PHOTOGRAPHS)
class TestNearDuplicates:
    @pytest.fixture(scope="class")
    def store(self, tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
        """At the usual size, as the study's photographs are large enough for."""
        return ImageStore(224, Resize.SQUASH, tmp_path_factory.mktemp("cache"))

    @pytest.fixture(scope="class")
    def images(self) -> list[np.ndarray]:
        """One photograph of each of eight landmarks: different ones for sure."""
        folders = sorted(PHOTOGRAPHS.glob("*/*/"))[::4]
        return [read_image(sorted(folder.glob("*.jpg"))[0]) for folder in folders]

    @pytest.fixture(scope="class")
    def disguised(self, images: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Two landmarks of four photographs, each of them six times."""
        folder = tmp_path_factory.mktemp("disguised")
        for number, image in enumerate(images):
            place = folder / "towers" / f"tower {number % 2}"
            small_run.save(place / f"{number}-original.png", image)
            small_run.save(place / f"{number}-again.jpg", image, quality=40)
            for name, other in disguises(image).items():
                small_run.save(place / f"{number}-{name}.jpg", other, quality=85)
        return folder

    def test_stay_together(self, store: ImageStore, disguised: Path) -> None:
        for landmark in ("tower 0", "tower 1"):
            entries = [e for e in admit(store, disguised) if e.image.landmark == landmark]
            groups = near_duplicates(entries, store)
            numbers = [{e.image.path.name.split("-")[0] for e in group} for group in groups]
            assert sorted(map(len, groups)) == [6] * (len(entries) // 6)
            assert all(len(found) == 1 for found in numbers), numbers

    def test_stay_on_one_side(self, store: ImageStore, disguised: Path) -> None:
        entries = admit(store, disguised)
        for seed in range(6):
            found = split(store, {"train": entries}, seed)
            assert all(found.parts[part] for part in PARTS)
            sides = {
                part: {path.name.split("-")[0] for path in paths(found, part)} for part in PARTS
            }
            assert not sides["train"] & sides["val"]
            assert not sides["train"] & sides["test"]
            assert not sides["val"] & sides["test"]

    def test_nothing_but_copies_is_trained_on(
        self, store: ImageStore, images: list[np.ndarray], tmp_path: Path
    ) -> None:
        """A landmark of one photograph in four copies cannot be validated; it is said."""
        for number in range(2):
            for name, other in disguises(images[number]).items():
                place = tmp_path / "towers" / f"tower {number}"
                small_run.save(place / f"{name}.jpg", other)
        found = split(store, {"train": admit(store, tmp_path)})
        assert not found.parts["val"]
        assert not found.parts["test"]

    def test_different_photographs_stay_apart(self, store: ImageStore) -> None:
        """Of the study's own images hardly any are taken for the same one."""
        folders = sorted(PHOTOGRAPHS.glob("*/*/"))[::3]
        total = groups = 0
        for folder in folders:
            found = [LabelledImage(path, "l", "c") for path in sorted(folder.glob("*.jpg"))]
            entries, _ = store.admit(found)
            total += len(entries)
            groups += len(near_duplicates(entries, store))
        assert groups > 0.9 * total


class TestOnDisk:
    def test_what_is_written_reads_the_same(
        self, store: ImageStore, entries: list[ImageEntry]
    ) -> None:
        found = split(store, {"train": entries})
        again = Split.from_csv(found.as_csv(), "split.csv")
        assert again == found
        assert again.digest() == found.digest()

    def test_strange_names(self) -> None:
        names = (
            'comma, "quote"',
            "line\nbreak",
            "ünï 橋",
            " space ",
            "=1+1",
            "'=1",
            "-a",
            "@b\u202e",
        )
        parts = dict.fromkeys(PARTS, ())
        parts["train"] = tuple(
            ImageEntry(LabelledImage(Path("/a folder") / name / "1.jpg", name, name), "0" * 64)
            for name in names
        )
        text = Split(parts).as_csv()
        assert Split.from_csv(text, "split.csv") == Split(parts)
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert not any(cell.startswith(tuple("=+-@")) for cell in cells)

    @pytest.mark.parametrize(
        "text",
        [
            "part,category,landmark,sha256,path\ntrain,a\n",
            "part,category,landmark,sha256,path\nexam,a,b,00,/x\n",
        ],
    )
    def test_a_damaged_file_is_refused(self, text: str) -> None:
        with pytest.raises(RunError, match=r"split\.csv: not a table of part,category,landmark"):
            Split.from_csv("part,category\ntrain,a\n", "split.csv")
        with pytest.raises(RunError, match=r"split\.csv: line 2 is not part of a split"):
            Split.from_csv(text, "split.csv")

    def test_the_digest_is_of_content(self, store: ImageStore, entries: list[ImageEntry]) -> None:
        """Where the images stand does not matter; what they show and say does."""
        found = split(store, {"train": entries})
        moved = Split.from_csv(found.as_csv().replace("an image", "moved"), "split.csv")
        relabelled = Split.from_csv(found.as_csv().replace(",old bridge,", ",new,"), "split.csv")
        assert moved.digest() == found.digest() != relabelled.digest()


def test_labels_follow_the_taxonomy(store: ImageStore, entries: list[ImageEntry]) -> None:
    found = split(store, {"train": entries})
    taxonomy = found.taxonomy()
    indices = label_indices(entries, taxonomy)
    for entry, landmark, category in zip(
        entries, indices["landmark"], indices["category"], strict=True
    ):
        assert taxonomy.landmarks[landmark] == entry.image.landmark
        assert taxonomy.categories[category] == entry.image.category
