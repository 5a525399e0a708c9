"""The check finds what was put in, names it, and finds nothing in good photographs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lmedge.exclude import Exclusion
from lmedge.image import read_image
from lmedge.train.data.findings import DataFinding
from lmedge.train.data.inspection import border_of
from lmedge.train.data.sheet import ROWS, write_sheets
from lmedge.train.data.sources import properties, source_findings
from tests import bad_images, small_run
from tests.locations import PHOTOGRAPHS, needs
from tests.train.data.conftest import kinds, run_check

TOWER = Path("tower") / "tower"
BRIDGE = Path("bridges") / "old bridge"


def first(folder: Path) -> Path:
    return sorted(folder.glob("*.jpg"))[0]


def test_nothing_is_found_in_good_photographs(photographs: Path, in_parts: Path) -> None:
    for data in (photographs, in_parts):
        assert run_check(data).findings == ()


class TestFiles:
    def test_each_kind_of_damage_is_told_apart(self, photographs: Path) -> None:
        folder = photographs / TOWER
        bad_images.truncated_jpeg(folder / "half.jpg")
        bad_images.text(folder / "text.jpg")
        bad_images.enormous_png(folder / "enormous.png")
        (folder / "empty.bmp").write_bytes(b"")
        shutil.copyfile(first(folder), folder / "misnamed.png")
        first(folder).unlink()  # one copy of it is enough
        small_run.save(folder / "tiny.png", small_run.draw((1, 2, 3), 77)[:12, :40])
        found = {finding.names[0]: finding for finding in run_check(photographs).findings}
        told = {Path(name).name: (found[name].kind, found[name].message) for name in found}
        assert {name: kind for name, (kind, _) in told.items()} == {
            "half.jpg": "truncated",
            "text.jpg": "unreadable",
            "enormous.png": "unreadable",
            "empty.bmp": "unreadable",
            "misnamed.png": "wrong-suffix",
            "tiny.png": "tiny",
        }
        assert "200 megapixels" in told["enormous.png"][1]
        assert "empty file" in told["empty.bmp"][1]
        assert "a JPEG image" in told["misnamed.png"][1]
        assert "40 x 12" in told["tiny.png"][1]

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
    def test_a_jpeg_that_lost_bytes_in_its_middle(self, photographs: Path) -> None:
        path = photographs / TOWER / "lost.jpg"
        small_run.save(path, np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8))
        whole = path.read_bytes()
        path.write_bytes(whole[:20_000] + whole[20_600:])
        beside = photographs / TOWER / "whole.jpg"
        small_run.save(beside, np.random.default_rng(1).integers(0, 256, (200, 300, 3), np.uint8))
        beside.write_bytes(beside.read_bytes() + whole)  # a second image, as MPO files have
        found = [f for f in run_check(photographs).findings if f.kind != "imbalance"]
        assert [(one.kind, one.exclude) for one in found] == [
            ("unreadable", ("tower/tower/lost.jpg",))
        ]
        assert "damaged JPEG data (" in found[0].message

    def test_a_name_that_is_not_utf_8(self, photographs: Path) -> None:
        path = photographs / TOWER / os.fsdecode(b"caf\xe9.jpg")
        shutil.copyfile(first(photographs / TOWER), path)
        report = run_check(photographs)
        (finding,) = report.findings
        assert finding.kind == "unreadable"
        assert finding.message == f"{finding.names[0]}: its name is not valid UTF-8"
        json.dumps(report.as_dict(), ensure_ascii=False).encode()

    def test_a_jpeg_named_jpeg_is_right(self, photographs: Path) -> None:
        path = first(photographs / TOWER)
        path.rename(path.with_suffix(".JPEG"))
        assert run_check(photographs).findings == ()


class TestDuplicates:
    def test_within_a_landmark_the_largest_is_kept(self, photographs: Path) -> None:
        path = first(photographs / TOWER)
        smaller = cv2.resize(read_image(path), (40, 32), interpolation=cv2.INTER_AREA)
        small_run.save(path.with_name("smaller.jpg"), smaller.astype(np.uint8))
        (finding,) = run_check(photographs).findings
        assert finding.kind == "duplicate"
        assert set(finding.names) == {f"tower/tower/{path.name}", "tower/tower/smaller.jpg"}
        assert finding.exclude == ("tower/tower/smaller.jpg",)

    def test_under_two_landmarks_every_copy_is_doubtful(self, photographs: Path) -> None:
        shutil.copyfile(first(photographs / TOWER), photographs / BRIDGE / "copy.jpg")
        (finding,) = run_check(photographs).findings
        assert finding.kind == "two-landmarks"
        assert finding.landmarks == ("old bridge", "tower")
        assert finding.exclude == finding.names

    def test_across_parts_the_test_part_keeps_its_image(self, in_parts: Path) -> None:
        mirrored = read_image(first(in_parts / "train" / TOWER))[:, ::-1]
        small_run.save(in_parts / "test" / TOWER / "mirrored.png", mirrored)
        (finding,) = run_check(in_parts).findings
        assert finding.kind == "leak"
        assert [name.split("/")[0] for name in finding.names] == ["train", "test"]
        assert [name.split("/")[0] for name in finding.exclude] == ["train"]

    def test_the_same_bytes_of_one_colour(self, in_parts: Path) -> None:
        """An image without any contrast has no hash to speak of; its file has."""
        plain = np.full((48, 60, 3), 90, np.uint8)
        for part in ("train", "val"):
            small_run.save(in_parts / part / BRIDGE / "plain.png", plain)
        small_run.save(in_parts / "test" / BRIDGE / "plain.png", plain + 50)
        assert kinds(run_check(in_parts)) == ["leak"]


class TestClasses:
    def test_one_landmark_in_two_categories(self, photographs: Path) -> None:
        path = photographs / "bridges" / "tower" / "1.jpg"
        small_run.save(path, small_run.draw((200, 50, 40), 4711))
        (finding,) = run_check(photographs).findings
        assert (finding.kind, finding.landmarks) == ("two-categories", ("tower",))
        assert "bridges and tower" in finding.message

    def test_names_that_are_nearly_the_same(self, photographs: Path) -> None:
        for index in range(4):
            path = photographs / "bridges" / "Old_Bridge" / f"{index}.jpg"
            small_run.save(path, small_run.draw((40, 200, 60), 4711 + index))
        (finding,) = run_check(photographs).findings
        assert (finding.kind, finding.landmarks) == ("similar-names", ("Old_Bridge", "old bridge"))

    def test_too_small_for_the_split(self, photographs: Path) -> None:
        """Copies do not make a class larger."""
        for index, path in enumerate(sorted((photographs / TOWER).glob("*.jpg"))):
            if index > 1:
                path.unlink()
        shutil.copyfile(first(photographs / TOWER), photographs / TOWER / "copy.jpg")
        report = run_check(photographs)
        assert kinds(report) == ["too-small", "duplicate"]
        assert "tower: 2 different images for training and" in report.findings[0].message

    def test_missing_in_a_part(self, in_parts: Path) -> None:
        shutil.rmtree(in_parts / "val" / TOWER)
        (finding,) = run_check(in_parts).findings
        assert (finding.kind, finding.message) == ("too-small", "tower: no image in the val part")

    def test_imbalance(self, photographs: Path) -> None:
        for index in range(30):
            image = small_run.draw((200, 50, 40), 4711 + index)
            small_run.save(photographs / TOWER / f"more {index}.jpg", image)
        (finding,) = run_check(photographs).findings
        assert (finding.kind, finding.landmarks) == ("imbalance", ("tower",))


class TestSources:
    @pytest.mark.parametrize("what", ["border", "size", "compression"])
    def test_what_gives_a_class_away(self, what: str, photographs: Path) -> None:
        for path in (photographs / TOWER).glob("*.jpg"):
            image = read_image(path)
            if what == "border":
                image[:6], image[-6:] = 0, 0
            elif what == "size":
                image = image[:-2]
            small_run.save(path, image, quality=60 if what == "compression" else 95)
        (finding,) = run_check(photographs).findings
        assert (finding.kind, finding.landmarks) == ("one-source", ("tower",))
        told = {"border": "top black", "size": "60 x 46 pixels", "compression": "JPEG tables"}
        assert told[what] in finding.message
        assert "100% of its images" in finding.message
        assert len(finding.names) == 6
        assert not finding.exclude

    def test_a_property_that_tells_all_landmarks(self, photographs: Path) -> None:
        for number, folder in enumerate(sorted(photographs.glob("*/*"))):
            for path in folder.glob("*.jpg"):
                small_run.save(path, read_image(path)[: 48 - number])
        report = run_check(photographs)
        (finding,) = [one for one in report.findings if not one.landmarks]
        assert "the size alone predicts the landmark of 100%" in finding.message
        by_name = {one.name: one for one in report.properties}
        assert by_name["size"].accuracy == 1.0
        assert by_name["size"].chance == pytest.approx(0.25)
        assert not by_name["format"].gives_away

    def test_nothing_to_look_at(self) -> None:
        assert properties([]) == []
        assert list(source_findings([])) == []

    def test_borders(self) -> None:
        image = small_run.draw((90, 90, 90), 5, (100, 100))
        assert border_of(image) == ()
        image[:, :5] = 255
        image[-3:] = (0, 60, 0)
        assert border_of(image) == ("bottom coloured",)  # the left one is cut by it
        image[-3:] = 255
        assert border_of(image) == ("bottom white", "left white")


class TestReport:
    def test_what_is_excluded_is_found_no_more(self, in_parts: Path) -> None:
        shutil.copyfile(
            first(in_parts / "train" / TOWER), in_parts / "test" / TOWER / "leak of train.jpg"
        )
        bad_images.text(in_parts / "train" / BRIDGE / "text.jpg")
        earlier = Exclusion("train/tower/tower/gone.jpg", "0" * 64, "long gone")
        report = run_check(in_parts, earlier)
        assert kinds(report) == ["unreadable", "leak"]
        exclusions = report.exclusions()
        assert earlier in exclusions
        assert len(exclusions) == 3
        again = run_check(in_parts, *exclusions)
        assert again.findings == ()
        assert again.exclusions() == exclusions

    def test_it_is_json(self, in_parts: Path) -> None:
        shutil.rmtree(in_parts / "val" / TOWER)
        about = json.loads(json.dumps(run_check(in_parts).as_dict(), allow_nan=False))
        assert about["pictures"] == about["readable"] == 38
        assert about["parts"] == {"train": 24, "val": 6, "test": 8}
        assert about["kinds"] == {"too-small": 1}
        assert about["findings"][0]["kind"] == "too-small"
        assert {one["landmark"]: one["pictures"] for one in about["landmarks"]}["tower"] == 8

    def test_sheets(self, photographs: Path, tmp_path: Path) -> None:
        names = tuple(p.relative_to(photographs).as_posix() for p in photographs.rglob("*.jpg"))
        missing = "tower/tower/not there \udcff 橋.jpg"
        many = [DataFinding("leak", f"x: {', '.join(names[:4])}", names=names[:4])] * (ROWS + 1)
        findings = [DataFinding("unreadable", "?", names=(missing,), exclude=(missing,)), *many]
        (tmp_path / "contact-sheet-9.png").write_bytes(b"of an earlier check")
        pages = write_sheets(findings, photographs, tmp_path)
        assert [page.name for page in pages] == ["contact-sheet.png", "contact-sheet-2.png"]
        assert sorted(tmp_path.glob("contact*")) == sorted(pages)
        sheet = read_image(pages[0])
        assert sheet.shape[1] == 1000
        assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 1000  # photographs are on it
        assert write_sheets([], photographs, tmp_path) == []
        assert not list(tmp_path.glob("contact*"))


@needs(PHOTOGRAPHS)
class TestRealPhotographs:
    def test_the_studys_photographs_are_whole_and_different(self) -> None:
        """One landmark was photographed upright by one person: 64 % against 5 % elsewhere."""
        report = run_check(PHOTOGRAPHS, min_side=112)
        (finding,) = report.findings
        assert (finding.kind, finding.landmarks) == ("one-source", ("giant_wild_goose_pagoda",))
        assert report.as_dict()["readable"] == 325
