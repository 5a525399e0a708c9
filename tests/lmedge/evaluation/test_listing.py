"""Folders as people have them: nothing is ignored in silence, and nothing strange ends the work."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lmedge.errors import DataError
from lmedge.evaluation.folders import part_folder, parts, scan
from lmedge.evaluation.listing import LeftOut, list_images, only_images
from lmedge.evaluation.unknown import list_unknown_images
from lmedge.image import read_image
from tests.lmedge.evaluation.test_folders import touch

JPEG = b"\xff\xd8\xff\xe0" + bytes(60)


def left_of(folder: Path) -> list[str]:
    left = LeftOut()
    scan(folder, left=left)
    lines = [*left.lines(), *left.lines(expected=True)]
    return [line.replace(f"{folder}/", "") for line in lines]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    return touch(tmp_path / "p", "a/x/1.jpg", "a/y/1.jpg")


def named(folder: Path) -> list[str]:
    return [image.path.relative_to(folder).as_posix() for image in scan(folder)]


@pytest.mark.parametrize(
    "name",
    [
        "1.JFIF",
        "1.jpe",
        "1.tif",
        "1.TIFF",
        "1.gif",
        "1.avif",
        "1.heic",
        "1.HEIF",
        "1.hif",
        "1.dib",
        "1.mpo",
    ],
)
def test_every_suffix_that_can_be_read_is_listed(name: str, photographs: Path) -> None:
    touch(photographs, f"a/y/{name}")
    assert f"a/y/{name}" in named(photographs)
    assert len(list_images(photographs)) == 3


def test_what_looks_like_an_image_and_is_not_read_is_counted_and_named(
    photographs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(photographs, "a/x/1.CR2", "a/x/2.cr2", "a/y/1.mov", "a/y/notes.txt", "a/x/Thumbs.db")
    (photographs / "a" / "x" / "no suffix").write_bytes(JPEG)
    (photographs / "a" / "x" / "1.jpg_large").write_bytes(JPEG)
    expected = [
        "a/x/1.CR2 and 1 more: .cr2 is not read; save it as JPEG",
        "a/x/1.jpg_large and 1 more: an image without an image's suffix; rename it",
        "a/y/1.mov: .mov is not read; save it as JPEG",
    ]
    assert sorted(left_of(photographs)) == expected
    scan(photographs)
    assert "1.CR2 and 1 more: .cr2 is not read" in caplog.text
    caplog.clear()
    list_images(photographs)
    assert "1.CR2 and 1 more: .cr2 is not read" in caplog.text
    caplog.clear()
    files = sorted((photographs / "a" / "x").iterdir())
    assert [path.name for path in only_images(files)] == ["1.jpg"]
    assert "1.CR2 and 1 more: .cr2 is not read" in caplog.text


def test_links_to_themselves_and_special_files_are_named(photographs: Path) -> None:
    landmark = photographs / "a" / "x"
    (landmark / "self").symlink_to("self")
    (landmark / "here").symlink_to(".")
    (photographs / "again").symlink_to(photographs)
    (photographs / "a" / "above").symlink_to("..")
    os.mkfifo(landmark / "pipe.jpg")
    (landmark / "device.png").symlink_to("/dev/zero")
    assert named(photographs) == ["a/x/1.jpg", "a/y/1.jpg"]
    assert sorted(left_of(photographs)) == [
        "a/x/device.png and 1 more: neither a file nor a folder",
        "a/x/self: a link that leads nowhere",
        "again and 2 more: a link to a folder above it",
    ]
    assert len(list_images(photographs)) == 2


@pytest.mark.parametrize("name", ["@eaDir", "lost+found", "__MACOSX", "$RECYCLE.BIN"])
@pytest.mark.parametrize("place", [".", "a", "a/x"])
def test_folders_of_systems_are_not_entered(name: str, place: str, photographs: Path) -> None:
    touch(photographs, f"{place}/{name}/1.jpg/thumbnail.jpg", f"{place}/{name}/2.jpg")
    (photographs / place / name).chmod(0)
    try:
        assert named(photographs) == ["a/x/1.jpg", "a/y/1.jpg"]
        assert len(list_images(photographs)) == 2
        assert "a folder of the system" in left_of(photographs)[0]
    finally:
        (photographs / place / name).chmod(0o700)


def test_what_lmedge_wrote_there_is_no_data(photographs: Path) -> None:
    run = touch(photographs, "runs/p/plots/curves.png", "runs/p/evaluation/mistakes.png")
    about = {"format": 1, "lmedge": "0", "split_sha256": "0"}
    (run / "runs" / "p" / "run.json").write_text(json.dumps(about))
    touch(photographs, "checked/contact-sheet.png", "contact-sheet.png", "measured/plots/1.png")
    for folder in ("checked", "."):
        about = {"format": 1, "lmedge": "0", "findings": []}
        (photographs / folder / "report.json").write_text(json.dumps(about))
    about = {"schema": 1, "latency": {}, "accuracy": None}
    (photographs / "measured" / "report.json").write_text(json.dumps(about))
    touch(photographs, "p.tflite", "p.explain.png")
    assert named(photographs) == ["a/x/1.jpg", "a/y/1.jpg"]
    assert sorted(left_of(photographs)) == [
        "checked and 2 more: a folder that lmedge wrote",
        "contact-sheet.png and 1 more: a picture that lmedge wrote",
    ]
    assert len(list_images(photographs)) == 2


def test_a_report_among_photographs_hides_none(photographs: Path) -> None:
    about = {"format": 1, "lmedge": "0", "findings": []}
    (photographs / "a" / "report.json").write_text(json.dumps(about))
    (photographs / "a" / "x" / "report.json").write_text("{}")
    touch(photographs, "a/contact-sheet-2.png")
    assert named(photographs) == ["a/x/1.jpg", "a/y/1.jpg"]


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_other_names_of_the_validation_part(name: str, tmp_path: Path) -> None:
    touch(tmp_path, "train/a/x/1.jpg", f"{name}/a/x/2.jpg", "test/a/x/3.jpg")
    assert parts(tmp_path) == ("train", "val", "test")
    assert part_folder(tmp_path, "val") == tmp_path / name
    assert [image.path.name for image in scan(tmp_path, "val")] == ["2.jpg"]
    touch(tmp_path, "val/a/x/4.jpg")
    with pytest.raises(DataError, match=f"{name}: a second validation part"):
        scan(tmp_path)


def test_without_train_they_are_folders_like_others(tmp_path: Path) -> None:
    touch(tmp_path, "valid/x/1.jpg", "more/y/1.jpg")
    assert {image.category for image in scan(tmp_path)} == {"valid", "more"}


def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DataError, match=r"pipe\.jpg: neither a file nor a folder"):
        read_image(tmp_path / "pipe.jpg")
    with pytest.raises(DataError, match="a folder, not an image"):
        read_image(tmp_path)


def test_a_folder_of_unknown_images_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="NOTHERE: no such folder; check the name"):
        list_unknown_images(tmp_path / "NOTHERE")
    touch(tmp_path, "1.jpg")
    with pytest.raises(DataError, match="a file, not a folder"):
        list_unknown_images(tmp_path / "1.jpg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds 0 images"):
        list_unknown_images(tmp_path / "empty")
