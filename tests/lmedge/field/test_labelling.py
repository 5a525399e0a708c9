"""Decisions about collected images: nothing is overwritten, nothing is lost, all can be undone."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from lmedge.errors import DataError, LmedgeError
from lmedge.evaluation.folders import scan
from lmedge.evaluation.unknown import list_unknown_images
from lmedge.field import labelling
from lmedge.field.collected import CollectedImage
from lmedge.field.groups import LARGEST, make_groups
from lmedge.field.journal import JOURNAL
from lmedge.field.label import label
from lmedge.field.labelling import DISCARD, LABEL, UNKNOWN_IMAGE, Labeller
from lmedge.field.origin import ORIGIN_FILE, read_origin
from tests.lmedge.field.collecting import write_collected

FRAMES = [(name, name != "grey stone", ("random",)) for name in ("red", "blue", "grey stone") * 3]


@pytest.fixture(scope="module")
def made(tiny_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "field"
    write_collected(folder, tiny_file, FRAMES, bursts=[0, 1, 2, 0, 3, 4, 0, 5, 6])
    return folder


@pytest.fixture
def field(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "field"))


@pytest.fixture
def labeller(field: Path, tmp_path: Path) -> Labeller:
    return Labeller(field, tmp_path / "photographs")


def names_of(labeller: Labeller, group: int = 0) -> list[str]:
    return [labeller.name_of(one) for one in labeller.upcoming(9)[group].images]


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_groups_have_one_prediction_and_known_ones_come_first(labeller: Labeller) -> None:
    groups = labeller.upcoming(99)
    assert sum(len(group.images) for group in groups) == len(FRAMES)
    for group in groups:
        assert len({(one.known, one.landmark) for one in group.images}) == 1
        assert len(group.images) <= LARGEST
        assert group.candidates[0][0] == group.images[0].landmark
    known = [group.images[0].known for group in groups]
    assert known == sorted(known, reverse=True)


def test_the_least_decided_come_first_and_what_is_not_known_last(labeller: Labeller) -> None:
    """Whoever labels a part only labels those whose labels are worth the most."""
    shares = {"red": (0.6, 0.1), "blue": (0.4, 0.35), "grey stone": (0.5, 0.49)}

    def with_top(image: CollectedImage) -> CollectedImage:
        pairs = zip(("a", "b"), shares[image.landmark], strict=True)
        top = [{"landmark": n, "category": "c", "probability": share} for n, share in pairs]
        return dataclasses.replace(image, prediction={**image.prediction, "top": top})

    images = [with_top(one) for group in labeller.upcoming(99) for one in group.images]
    groups = make_groups(images)
    order = list(dict.fromkeys((one.images[0].known, one.images[0].landmark) for one in groups))
    assert order == [(True, "blue"), (True, "red"), (False, "grey stone")]
    assert groups[0].margin == pytest.approx(0.05)
    alone = dataclasses.replace(images[0], prediction={**images[0].prediction, "top": []})
    assert alone.margin == 1.0


def test_labels_are_copies_that_a_training_reads_with_their_origin(
    labeller: Labeller, field: Path, tmp_path: Path
) -> None:
    before = files(field)
    images = names_of(labeller)
    labeller.decide(LABEL, images, "red", "towers")
    labeller.decide(UNKNOWN_IMAGE, names_of(labeller)[:1])
    labeller.decide(DISCARD, names_of(labeller)[:1])
    data = tmp_path / "photographs"
    assert {one.landmark for one in scan(data)} == {"red"}
    assert {one.path.name for one in scan(data)} == set(images)
    assert len(list_unknown_images(data / "unknown")) == 1
    rows = read_origin(data)
    assert len(rows) == len(images) + 1
    first = next(row for row in rows if row["path"] == f"towers/red/{images[0]}")
    assert (first["predicted"], first["reasons"], first["camera"]) == ("blue", "random", "hall")
    after = files(field)
    assert after.pop(JOURNAL) and after == before
    assert labeller.counts() == {LABEL: len(images), UNKNOWN_IMAGE: 1, DISCARD: 1}


def test_nothing_is_overwritten_and_undo_leaves_what_was_there(
    labeller: Labeller, tmp_path: Path
) -> None:
    name = names_of(labeller)[0]
    image = labeller.image(name)
    assert image is not None
    folder = tmp_path / "photographs" / "towers" / "red"
    folder.mkdir(parents=True)
    mine = folder / name
    mine.write_bytes(b"a photograph of mine")
    labeller.decide(LABEL, [name], "red", "towers")
    other = folder / f"{Path(name).stem}-2.jpg"
    assert other.read_bytes() == image.path.read_bytes()
    labeller.undo()
    assert files(tmp_path / "photographs").keys() == {f"towers/red/{name}", ORIGIN_FILE}
    mine.write_bytes(image.path.read_bytes())  # the same image, put there by a person
    labeller.decide(LABEL, [name], "red", "towers")
    labeller.undo()
    assert mine.exists() and read_origin(tmp_path / "photographs") == []
    labeller.decide(LABEL, [name], "green", "towers")
    changed = tmp_path / "photographs" / "towers" / "green" / name
    changed.write_bytes(b"cropped by hand")
    labeller.undo()
    assert changed.read_bytes() == b"cropped by hand"


def test_undo_takes_back_one_decision_after_another(labeller: Labeller, tmp_path: Path) -> None:
    first, second = names_of(labeller)[:2]
    labeller.decide(LABEL, [first], "red", "towers")
    labeller.decide(DISCARD, [second])
    assert labeller.undo() == [second] and labeller.undo() == [first]
    assert not labeller.can_undo and len(labeller.left()) == len(FRAMES)
    assert files(tmp_path / "photographs").keys() == {ORIGIN_FILE}
    with pytest.raises(DataError, match="nothing to undo"):
        labeller.undo()


@pytest.mark.parametrize("dies", ["copy_as", "change_origin", "end"])
def test_a_process_that_dies_in_a_decision_has_it_carried_out_by_the_next(
    dies: str, labeller: Labeller, field: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = names_of(labeller)
    calls = 0

    def killed(*_: object, **__: object) -> None:
        nonlocal calls
        calls += 1
        raise KeyboardInterrupt

    place = labelling.Journal if dies == "end" else labelling
    with monkeypatch.context() as patch:
        patch.setattr(place, dies, killed)
        with pytest.raises(KeyboardInterrupt):
            labeller.decide(LABEL, images, "red", "towers")
    assert calls == 1
    again = Labeller(field, tmp_path / "photographs")
    assert set(again.left()).isdisjoint(images)
    assert {one.path.name for one in scan(tmp_path / "photographs")} == set(images)
    assert len(read_origin(tmp_path / "photographs")) == len(images)
    again.undo()
    assert files(tmp_path / "photographs").keys() == {ORIGIN_FILE}


def test_a_line_of_the_journal_that_is_cut_was_never_written(
    labeller: Labeller, field: Path, tmp_path: Path
) -> None:
    first, second = names_of(labeller)[:2]
    labeller.decide(DISCARD, [first])
    journal = field / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"id": 2, "do": "disc')
    again = Labeller(field, tmp_path / "photographs")
    assert len(again.left()) == len(FRAMES) - 1
    again.decide(DISCARD, [second])
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line.get("id") or line["done"] for line in lines] == [1, 1, 2, 2]
    journal.write_text("no JSON\n")
    with pytest.raises(DataError, match="not the journal"):
        Labeller(field, tmp_path / "photographs")


def test_a_full_disk_loses_no_decision(
    labeller: Labeller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = names_of(labeller)[:2]

    def full(*_: object) -> bool:
        raise LmedgeError("cannot write: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(labelling, "copy_as", full)
        with pytest.raises(LmedgeError, match="No space"):
            labeller.decide(LABEL, [first], "red", "towers")
    labeller.decide(LABEL, [second], "red", "towers")
    assert {one.path.name for one in scan(tmp_path / "photographs")} == {first, second}


def test_new_landmarks_and_names_that_cannot_be_folders(labeller: Labeller, tmp_path: Path) -> None:
    first, second, *_ = labeller.left()
    labeller.decide(LABEL, [first], " Neue Brücke ", "bridges")
    assert labeller.categories["Neue Brücke"] == "bridges"
    bad = [
        *(("x", ""), ("..", "bridges"), ("a/b", "bridges"), ("x", "unknown"), ("x", "train")),
        *(
            (".x", "bridges"),
            ("x\n", "a\x1bb"),
            ("y" * 300, "bridges"),
            ("red", "bridges"),
            ("", ""),
        ),
    ]
    for landmark, category in bad:
        with pytest.raises(DataError):
            labeller.decide(LABEL, [second], landmark, category)
    for names in ([], ["none.jpg"], [first]):
        with pytest.raises(DataError):
            labeller.decide(LABEL, names, "red", "towers")
    with pytest.raises(DataError):
        labeller.decide("paint", [second])
    assert len(labeller.left()) == len(FRAMES) - 1


def test_layouts_with_parts_or_a_taxonomy_stay_as_they_are(field: Path, tmp_path: Path) -> None:
    parts, flat = tmp_path / "parts", tmp_path / "flat"
    for folder in (parts / "train" / "towers" / "red", parts / "test" / "towers" / "red", flat):
        folder.mkdir(parents=True)
    (flat / "taxonomy.csv").write_text("landmark,category\nred,towers\n")
    one = Labeller(field, parts)
    name = one.left()[0]
    one.decide(LABEL, [name], "red", "towers")
    assert (parts / "train" / "towers" / "red" / name).exists()
    with pytest.raises(DataError, match=r"no image|name that --data"):
        Labeller(field, flat).decide(LABEL, [name], "red", "towers")
    (field / JOURNAL).unlink()
    two = Labeller(field, flat)
    two.decide(LABEL, [name], "red", "towers")
    assert (flat / "red" / name).exists()
    with pytest.raises(DataError, match=r"taxonomy\.csv"):
        two.decide(LABEL, [two.left()[0]], "new", "towers")


def test_the_random_share_measures_the_field_and_scenes_count_once(labeller: Labeller) -> None:
    assert labeller.accuracy() is None
    for name in labeller.left():
        image = labeller.image(name)
        assert image is not None
        if image.landmark == "blue":  # wrong: it is red
            labeller.decide(LABEL, [name], "red", "towers")
        elif image.known:
            labeller.decide(LABEL, [name], image.landmark, str(image.prediction["category"]))
        else:
            labeller.decide(UNKNOWN_IMAGE, [name])
    found = labeller.accuracy()
    assert found is not None
    assert (found.images, found.right, found.bursts) == (9, 6, 7)
    assert found.interval[0] < 6 / 9 < found.interval[1]
    assert found.interval[1] - found.interval[0] > 0.5  # of 7 scenes, not of 9 images


def test_a_folder_without_collected_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no collected images"):
        Labeller(tmp_path / "empty", tmp_path / "photographs")


def test_a_folder_that_does_not_exist_is_missing_and_is_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "nothere"
    result = CliRunner().invoke(label, [str(missing), "--data", str(tmp_path / "data")])
    assert isinstance(result.exception, DataError)
    assert "no such folder" in str(result.exception)
    assert list(tmp_path.iterdir()) == []
