"""What training does with the exclude file and the split file, and the leaks it refuses."""

from __future__ import annotations

import csv
import hashlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lmedge.errors import DataError
from lmedge.evaluation import PARTS
from lmedge.evaluation.folders import scan
from lmedge.exclude import Exclusion, leave_out, read_exclusions, write_exclusions
from lmedge.field.origin import COLUMNS, change_origin
from lmedge.image import Resize
from lmedge.similar import ImageFingerprint, Pairs, pairs_alike
from lmedge.train.data.preparation import SplitOptions, prepare_folds, prepare_split
from lmedge.train.data.split import Split
from lmedge.train.data.split_file import SPLIT_FILE, as_portable_csv
from lmedge.train.data.store import ImageStore
from tests import small_run

TOWER = Path("tower") / "tower"
BRIDGE = Path("bridges") / "old bridge"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return ImageStore(32, Resize.SQUASH, tmp_path_factory.mktemp("cache"))


def options(seed: int = 0, **more: object) -> SplitOptions:
    return SplitOptions(seed=seed, val_fraction=0.2, test_fraction=0.2, **more)  # type: ignore[arg-type]


def prepared(data: Path, store: ImageStore, given: SplitOptions | None = None) -> Split:
    return prepare_split(data, store, given or options())[0]


def write_split(data: Path, store: ImageStore, seed: int = 0) -> Split:
    split = prepare_split(data, store, options(seed), cut_anew=True)[0]
    (data / SPLIT_FILE).write_text(as_portable_csv(split, data), "utf-8")
    return split


def names(split: Split, data: Path) -> Mapping[str, set[str]]:
    return {
        part: {entry.image.path.relative_to(data).as_posix() for entry in split.parts[part]}
        for part in PARTS
    }


def first(folder: Path) -> Path:
    return sorted(folder.glob("*.jpg"))[0]


class TestExcludeFile:
    def test_what_is_written_reads_the_same(self, tmp_path: Path) -> None:
        strange = ("a, b/ü 橋.jpg", '"quoted".jpg', "# no comment.jpg", "plain/1.jpg")
        exclusions = tuple(Exclusion(name, "0" * 64, 'a "reason", with') for name in strange)
        write_exclusions(tmp_path / "exclude.txt", exclusions)
        assert read_exclusions(tmp_path / "exclude.txt") == exclusions

    def test_paths_written_by_hand(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.txt"
        path.write_text("# blurred\ntower/tower/1.jpg\n\ntower/tower/2.jpg,,dark\n", "utf-8")
        assert read_exclusions(path) == (
            Exclusion("tower/tower/1.jpg"),
            Exclusion("tower/tower/2.jpg", "", "dark"),
        )

    @pytest.mark.parametrize(
        ("content", "told"),
        [(b"a.jpg,abc\n", "'abc'"), (b"\xff\xfe\n", "byte order"), (b'"a\n', "CSV")],
    )
    def test_damage_is_said(self, content: bytes, told: str, tmp_path: Path) -> None:
        path = tmp_path / "exclude.txt"
        path.write_bytes(content)
        with pytest.raises(DataError, match=told):
            read_exclusions(path)
        with pytest.raises(DataError, match="no.txt"):
            read_exclusions(tmp_path / "no.txt")

    def test_a_replaced_file_is_kept(
        self, photographs: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        images = scan(photographs)
        path = first(photographs / TOWER)
        listed = [Exclusion(path.relative_to(photographs).as_posix(), "0" * 64)]
        assert leave_out(images, listed, photographs) == images
        assert f"{path}: changed since it was excluded" in caplog.text

    def test_training_leaves_them_out(self, photographs: Path, store: ImageStore) -> None:
        name = first(photographs / TOWER).relative_to(photographs).as_posix()
        (photographs / "exclude.txt").write_text(f"{name}\n", "utf-8")
        found = names(prepared(photographs, store), photographs)
        assert name not in set().union(*found.values())
        assert sum(map(len, found.values())) == 23
        other = photographs.parent / "other.txt"  # named, it stands in for the usual one
        other.write_text("", "utf-8")
        found = names(prepared(photographs, store, options(exclude=other)), photographs)
        assert name in set().union(*found.values())

    def test_nothing_is_left(self, photographs: Path, store: ImageStore) -> None:
        everything = [p.relative_to(photographs).as_posix() for p in photographs.rglob("*.jpg")]
        write_exclusions(photographs / "exclude.txt", map(Exclusion, everything))
        with pytest.raises(DataError, match="all 24 images are excluded"):
            prepared(photographs, store)


class TestSplitFile:
    def test_it_decides_whatever_the_seed(self, photographs: Path, store: ImageStore) -> None:
        written = write_split(photographs, store, seed=5)
        assert prepared(photographs, store, options(seed=1)) == written
        (photographs / SPLIT_FILE).unlink()
        assert prepared(photographs, store, options(seed=1)) != written
        assert prepared(photographs, store, options(seed=5)) == written

    def test_it_travels(self, photographs: Path, store: ImageStore, tmp_path: Path) -> None:
        written = write_split(photographs, store)
        assert str(tmp_path) not in (photographs / SPLIT_FILE).read_text("utf-8")
        there = tmp_path / "elsewhere"
        photographs.rename(there)
        assert names(prepared(there, store), there) == names(written, photographs)

    def test_it_may_lie_elsewhere(
        self, photographs: Path, store: ImageStore, tmp_path: Path
    ) -> None:
        written = write_split(photographs, store, seed=5)
        path = (photographs / SPLIT_FILE).rename(tmp_path / "mine.csv")
        assert prepared(photographs, store, options(split=path)) == written

    def test_a_renamed_image_is_known_by_its_hash(
        self, photographs: Path, store: ImageStore
    ) -> None:
        written = write_split(photographs, store)
        moved = written.parts["test"][0].image.path
        moved.rename(moved.with_name("renamed.jpg"))
        again = prepared(photographs, store)
        assert again.digest() == written.digest()

    def test_changed_and_missing_images_are_refused(
        self, photographs: Path, store: ImageStore
    ) -> None:
        path = write_split(photographs, store).parts["train"][0].image.path
        small_run.save(path, small_run.draw((5, 5, 5), 99))
        name = path.relative_to(photographs).as_posix()
        with pytest.raises(DataError, match=f"1 of its 24 images.*{name}"):
            prepared(photographs, store)
        path.unlink()
        with pytest.raises(DataError, match=f"1 of its 24 images.*{name}"):
            prepared(photographs, store)
        (photographs / "exclude.txt").write_text(f"{name}\n", "utf-8")
        assert sum(map(len, names(prepared(photographs, store), photographs).values())) == 23

    def test_a_new_image_is_left_out_and_said(
        self, photographs: Path, store: ImageStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        written = write_split(photographs, store)
        small_run.save(photographs / TOWER / "new.jpg", small_run.draw((200, 50, 40), 99))
        assert prepared(photographs, store) == written
        assert "does not name 1 image, left out" in caplog.text

    def test_a_image_in_another_folder_now(self, photographs: Path, store: ImageStore) -> None:
        path = write_split(photographs, store).parts["train"][0].image.path
        text = (photographs / SPLIT_FILE).read_text("utf-8")
        name = path.relative_to(photographs).as_posix()
        target = TOWER / path.name.replace("an image", "from elsewhere")
        path.rename(photographs / target)
        (photographs / SPLIT_FILE).write_text(text.replace(name, target.as_posix()), "utf-8")
        with pytest.raises(DataError, match="but stands in the folder of tower/tower"):
            prepared(photographs, store)

    @pytest.mark.parametrize("text", ["", "part,path\ntrain\n", "part,category\ntrain,a\n"])
    def test_damage_is_said(self, text: str, photographs: Path, store: ImageStore) -> None:
        (photographs / SPLIT_FILE).write_text(text, "utf-8")
        with pytest.raises(DataError, match=r"split\.csv.*lmedge data split"):
            prepared(photographs, store)

    def test_a_line_twice(self, photographs: Path, store: ImageStore) -> None:
        write_split(photographs, store)
        text = (photographs / SPLIT_FILE).read_text("utf-8")
        last = text.splitlines(keepends=True)[-1]
        (photographs / SPLIT_FILE).write_text(text + last, "utf-8")
        with pytest.raises(DataError, match="twice"):
            prepared(photographs, store)

    def test_a_landmark_that_is_not_trained_on(self, photographs: Path, store: ImageStore) -> None:
        write_split(photographs, store)
        path = photographs / SPLIT_FILE
        rows = list(csv.reader(path.read_text("utf-8").splitlines()))
        kept = [row for row in rows if not (row[0] == "train" and row[2] == "tower")]
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows(kept)
        with pytest.raises(DataError, match="shows 'tower', which the training part does not"):
            prepared(photographs, store)


class TestLeaks:
    @pytest.fixture
    def leaking(self, in_parts: Path) -> Path:
        shutil.copyfile(first(in_parts / "train" / TOWER), in_parts / "test" / TOWER / "leaked.jpg")
        return in_parts

    def test_a_leak_is_refused(self, leaking: Path, store: ImageStore) -> None:
        with pytest.raises(DataError, match=r"1 image is in two parts.*leaked\.jpg") as caught:
            prepared(leaking, store)
        for way in ("lmedge data check", "--exclude-file", "--allow-leak"):
            assert way in str(caught.value)

    def test_unless_it_is_allowed(
        self, leaking: Path, store: ImageStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        split = prepared(leaking, store, options(allow_leak=True))
        assert len(split.parts["test"]) == 9
        assert "1 image is in two parts" in caplog.text

    def test_or_excluded(self, leaking: Path, store: ImageStore) -> None:
        (leaking / "exclude.txt").write_text("test/tower/tower/leaked.jpg\n", "utf-8")
        assert len(prepared(leaking, store).parts["test"]) == 8

    def test_in_a_split_file(self, photographs: Path, store: ImageStore) -> None:
        shutil.copyfile(first(photographs / TOWER), photographs / TOWER / "copy.jpg")
        write_split(photographs, store)
        path = photographs / SPLIT_FILE
        name = f"tower/tower/{first(photographs / TOWER).name}"
        lines = path.read_text("utf-8").splitlines()
        (line,) = [line for line in lines if line.endswith(name)]
        other = {"train": "test", "test": "train", "val": "train"}[line.split(",")[0]]
        swapped = ",".join([other, *line.split(",")[1:]])
        path.write_text("\n".join(swapped if one == line else one for one in lines), "utf-8")
        with pytest.raises(DataError, match="the split leaks"):
            prepared(photographs, store)

    def test_a_cut_does_not_leak_between_landmarks(
        self, photographs: Path, store: ImageStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whatever the seed: the copies of all towers stand under the bridge as well."""
        for path in sorted((photographs / TOWER).glob("*.jpg")):
            shutil.copyfile(path, photographs / BRIDGE / f"of the tower {path.name}")
        caplog.set_level(logging.INFO, "lmedge")
        for seed in range(4):
            split = prepared(photographs, store, options(seed))
            hashes = [{entry.sha256 for entry in split.parts[part]} for part in PARTS]
            assert not hashes[0] & hashes[1] | hashes[0] & hashes[2] | hashes[1] & hashes[2]
            assert sum(len(split.parts[part]) for part in PARTS) == 30
        assert "stay in the training part" in caplog.text
        assert "6 images are under two landmarks" in caplog.text

    def test_every_pair_of_images_is_compared_once(
        self, photographs: Path, store: ImageStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Although like images move between the parts, and for all folds together."""
        for path in sorted((photographs / TOWER).glob("*.jpg")):
            shutil.copyfile(path, photographs / BRIDGE / f"of the tower {path.name}")
        searches: list[int] = []

        def counting(fingerprints: Sequence[ImageFingerprint], **more: bool) -> Pairs:
            searches.append(len(fingerprints))
            return pairs_alike(fingerprints, **more)

        monkeypatch.setattr("lmedge.train.data.leaks.pairs_alike", counting)
        prepared(photographs, store)
        assert searches == [30]
        prepare_folds(photographs, store, options(), 3)
        assert searches == [30, 30]


class TestBursts:
    def test_frames_of_one_burst_stay_together(self, photographs: Path, store: ImageStore) -> None:
        images = sorted((photographs / TOWER).glob("*.jpg"))
        rows = [
            {
                **dict.fromkeys(COLUMNS, ""),
                "path": path.relative_to(photographs).as_posix(),
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "burst": f"run-{index // 4}",
            }
            for index, path in enumerate(images)
        ]
        change_origin(photographs, rows)
        for seed in range(4):
            found = names(prepared(photographs, store, options(seed)), photographs)
            for start in range(0, len(rows), 4):
                burst = {row["path"] for row in rows[start : start + 4]}
                assert sum(bool(burst & inside) for inside in found.values()) == 1
        bridges = sorted((photographs / BRIDGE).glob("*.jpg"))[:4]
        change_origin(
            photographs,
            [
                {
                    **rows[0],
                    "path": path.relative_to(photographs).as_posix(),
                    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                    "burst": f"run-{index}",
                }
                for index, path in enumerate(bridges)
            ],
        )
        crossed = 0
        for seed in range(4):
            found = names(prepared(photographs, store, options(seed)), photographs)
            for number, path in enumerate(bridges[: len(images) // 4]):
                burst = {row["path"] for row in rows[4 * number : 4 * number + 4]}
                burst.add(path.relative_to(photographs).as_posix())
                assert sum(bool(burst & inside) for inside in found.values()) == 1
                crossed += 1
        assert crossed, "a burst of two landmarks is one group too"
        (photographs / "origin.csv").write_text("no table\n", "utf-8")
        with pytest.raises(DataError, match=r"origin\.csv"):
            prepared(photographs, store)
