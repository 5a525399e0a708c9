"""Labelled folders: what is read, what is refused, and with which words."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import pytest

from lmedge.errors import DataError
from lmedge.evaluation.folders import LabelledImage, list_images, parts, scan
from lmedge.evaluation.listing import LeftOut
from lmedge.evaluation.unknown import unknown_folder_of


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def labels(images: Iterable[LabelledImage]) -> list[tuple[str, str, str]]:
    return [(image.category, image.landmark, image.path.name) for image in images]


def refusal(data: Path, part: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        scan(data, part)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_categories_above_landmarks_in_a_fixed_order(tmp_path: Path) -> None:
    touch(tmp_path, "b/y/2.png", "b/y/1.jpg", "a/x/1.webp", "a/z/1.bmp", "a/x/0.jpeg")
    assert labels(scan(tmp_path)) == [
        ("a", "x", "0.jpeg"),
        ("a", "x", "1.webp"),
        ("a", "z", "1.bmp"),
        ("b", "y", "1.jpg"),
        ("b", "y", "2.png"),
    ]


def test_suffixes_in_any_case_and_nothing_hidden_or_foreign(tmp_path: Path) -> None:
    touch(tmp_path, "a/x/1.JPG", "a/x/2.JpEg", "a/x/.3.jpg", "a/x/notes.txt", "a/.x/1.jpg")
    touch(tmp_path, "SOURCES.md", "manifest.csv", ".git/a/1.jpg")
    assert labels(scan(tmp_path)) == [("a", "x", "1.JPG"), ("a", "x", "2.JpEg")]


def test_spaces_other_alphabets_and_one_unicode_form(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Cathédrale d’Évry")
    touch(tmp_path, f"églises/{decomposed}/photo 1.jpg", "寺/清水寺/一.jpg")
    assert labels(scan(tmp_path)) == [
        ("églises", "Cathédrale d’Évry", "photo 1.jpg"),
        ("寺", "清水寺", "一.jpg"),
    ]
    assert all(image.path.exists() for image in scan(tmp_path))


def test_a_category_and_a_landmark_may_share_a_name(tmp_path: Path) -> None:
    touch(tmp_path, "pyramids/pyramids/1.jpg", "pyramids/louvre/1.jpg")
    assert {image.landmark for image in scan(tmp_path)} == {"pyramids", "louvre"}


def test_symbolic_links_are_followed_and_broken_ones_listed(tmp_path: Path) -> None:
    real = touch(tmp_path / "real", "1.jpg")
    data = touch(tmp_path / "data", "a/x/0.jpg")
    (data / "a" / "y").symlink_to(real, target_is_directory=True)
    (data / "a" / "x" / "1.jpg").symlink_to(real / "1.jpg")
    (data / "a" / "x" / "2.jpg").symlink_to(real / "gone.jpg")  # named when it is read, not lost
    assert [name for _, _, name in labels(scan(data))] == ["0.jpg", "1.jpg", "2.jpg", "1.jpg"]


def test_taxonomy_beside_flat_folders(tmp_path: Path) -> None:
    touch(tmp_path, "eiffel tower/1.jpg", "giza/1.jpg")
    text = (
        "\ufefflandmark,category,note\neiffel tower,towers,\n\ngiza,pyramids,old\nabsent,towers,\n"
    )
    (tmp_path / "taxonomy.csv").write_text(text, encoding="utf-8")
    assert labels(scan(tmp_path)) == [
        ("towers", "eiffel tower", "1.jpg"),
        ("pyramids", "giza", "1.jpg"),
    ]


def test_parts_are_used_as_they_are(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/x/1.jpg", "test/a/x/2.jpg", "val/a/x/3.jpg")
    assert parts(tmp_path) == ("train", "val", "test")
    assert labels(scan(tmp_path, "test")) == [("a", "x", "2.jpg")]
    assert [name for _, _, name in labels(scan(tmp_path))] == ["1.jpg", "3.jpg", "2.jpg"]


def test_parts_need_train(tmp_path: Path) -> None:
    touch(tmp_path, "test/a/1.jpg", "val/b/1.jpg")  # categories that happen to have these names
    assert parts(tmp_path) == ()
    assert len(scan(tmp_path)) == 2
    assert "'test'" in refusal(tmp_path, "test")


def test_a_part_that_is_absent_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/x/1.jpg", "test/a/x/2.jpg")
    assert "only train, test" in refusal(tmp_path, "val")


def test_taxonomy_at_the_top_or_in_the_part(tmp_path: Path) -> None:
    touch(tmp_path, "train/x/1.jpg", "test/x/2.jpg")
    (tmp_path / "taxonomy.csv").write_text("landmark,category\nx,a\n")
    assert {image.category for image in scan(tmp_path)} == {"a"}
    (tmp_path / "taxonomy.csv").rename(tmp_path / "train" / "taxonomy.csv")
    assert labels(scan(tmp_path, "train")) == [("a", "x", "1.jpg")]


def test_what_stands_beside_the_parts_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "train/a/x/1.jpg", "more/a/x/1.jpg", "notes/readme.txt")
    with caplog.at_level(logging.WARNING):
        assert len(scan(tmp_path)) == 1
    assert str(tmp_path / "more") in caplog.records[0].message
    assert len(caplog.records) == 1


@pytest.mark.parametrize("name", ["a/x/1.jpg", "train/a/x/1.jpg", "x/1.jpg"])
def test_images_of_anything_else_are_no_labels(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At any depth, in every layout, and beside the parts."""
    touch(tmp_path, name, "unknown/1.jpg", "unknown/tree/2.jpg", "unknown/tree/oak/old/3.jpg")
    if name == "x/1.jpg":
        (tmp_path / "taxonomy.csv").write_text("landmark,category\nx,a\n")
    with caplog.at_level(logging.WARNING):
        assert labels(scan(tmp_path)) == [("a", "x", "1.jpg")]
    assert not caplog.records
    if parts(tmp_path):
        touch(tmp_path, "train/unknown/1.jpg")
        left = LeftOut()
        assert labels(scan(tmp_path, left=left)) == [("a", "x", "1.jpg")]
        assert "belong in" in " ".join(left.lines())
    assert unknown_folder_of(tmp_path, None) == tmp_path / "unknown"
    assert unknown_folder_of(tmp_path, Path("given")) == Path("given")
    assert unknown_folder_of(tmp_path / "none", None) is None


def test_a_landmark_without_images_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "a/x/1.jpg", "a/y/notes.txt")
    with caplog.at_level(logging.WARNING):
        assert len(scan(tmp_path)) == 1
    assert str(tmp_path / "a" / "y") in caplog.text


def test_folders_that_cannot_be_data(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "absent")
    assert "not a folder" in refusal(touch(tmp_path, "1.jpg") / "1.jpg")
    (tmp_path / "empty").mkdir()
    assert "empty folder" in refusal(tmp_path / "empty")
    assert "<category>/<landmark>" in refusal(touch(tmp_path / "texts", "a/x/1.txt"))


@pytest.mark.parametrize("misplaced", ["1.jpg", "landmark/1.jpg", "a/x/more/1.jpg"])
def test_images_at_the_wrong_level(tmp_path: Path, misplaced: str) -> None:
    message = refusal(touch(tmp_path, "a/x/1.jpg", misplaced))
    assert str(tmp_path / misplaced) in message
    assert "<category>/<landmark>" in message
    assert "taxonomy.csv" in message


def test_a_landmark_under_two_categories(tmp_path: Path) -> None:
    message = refusal(touch(tmp_path, "a/x/1.jpg", "b/x/1.jpg"))
    assert str(tmp_path / "a" / "x") in message
    assert str(tmp_path / "b" / "x") in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("landmark,kind\nx,a\n", "no column 'category'"),
        ("", "no column 'landmark'"),
        ("landmark,category\ny,a\n", "not listed"),
        ("landmark,category\nx,\n", "lacks"),
        ("landmark,category\nx\n", "lacks"),
        ("landmark,category\nx,a\nx,b\n", "two categories"),
    ],
)
def test_a_taxonomy_that_cannot_be_used(tmp_path: Path, text: str, words: str) -> None:
    touch(tmp_path, "x/1.jpg")
    (tmp_path / "taxonomy.csv").write_text(text)
    message = refusal(tmp_path)
    assert words in message
    assert str(tmp_path) in message


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_taxonomy_as_editors_save_it(encoding: str, separator: str, tmp_path: Path) -> None:
    touch(tmp_path, "x/1.jpg")
    lines = ("landmark,category", "x,église", "")
    text = "\r\n".join(lines).replace(",", separator)
    (tmp_path / "taxonomy.csv").write_bytes(text.encode(encoding))
    assert [image.category for image in scan(tmp_path)] == ["église"]


def test_a_taxonomy_that_is_no_text(tmp_path: Path) -> None:
    touch(tmp_path, "x/1.jpg")
    (tmp_path / "taxonomy.csv").write_bytes(bytes(200))
    assert "zero bytes" in refusal(tmp_path)


def test_a_line_of_a_taxonomy_without_a_folder_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "train/x/1.jpg", "train/y/1.jpg", "val/z/1.jpg")
    (tmp_path / "taxonomy.csv").write_text("landmark,category\nx,a\ny,a\nz,b\nhill,b\n", "utf-8")
    scan(tmp_path, "val")
    assert "hill" not in caplog.text  # reported once, with the training part
    scan(tmp_path, "train")
    assert "taxonomy.csv: line 5: there is no folder 'hill'" in caplog.text


@pytest.mark.parametrize("place", ["tower\r/x", "a/x\x85"])
def test_a_name_that_cannot_be_a_label(place: str, tmp_path: Path) -> None:
    touch(tmp_path, f"{place}/1.jpg", "a/y/1.jpg")
    assert "holds a control character (U+00" in refusal(tmp_path)
    assert "rename the folder" in refusal(tmp_path)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/x\xff"))
    folder.mkdir(parents=True)
    (folder / "1.jpg").touch()
    assert "not valid UTF-8" in refusal(tmp_path)


def test_images_without_labels_at_any_depth_each_once(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a/1.png", "a/deep/er/2.PNG", "a/.hidden/3.jpg", "a/text.txt")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    names = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert names == ["b.jpg", "a/1.png", "a/deep/er/2.PNG"]
