"""The table of closed-form heads: every method learns the same, and none what it is asked."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.studies import teach
from lmedge.teach.base import Base
from tests.lmedge.teach import small


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base.tflite`, `photographs/` of five landmarks and `other/`."""
    made = tmp_path_factory.mktemp("study")
    small.write_base(made / "base.tflite")
    small.write_photographs(made / "photographs", small.HIERARCHY | small.MORE, range(9))
    for number in range(6):
        small.save(made / "other" / f"{number}.png", small.draw(f"else {number}", number))
    return made


@pytest.fixture(scope="module")
def found(folder: Path) -> tuple[teach.Photographs, teach.Photographs]:
    backbone = Base.open(folder / "base.tflite").backbone
    return (
        teach.read_features(folder / "photographs", backbone, labelled=True),
        teach.read_features(folder / "other", backbone, labelled=False),
    )


def test_nothing_is_learned_and_asked(
    found: tuple[teach.Photographs, teach.Photographs],
) -> None:
    draw = teach.Draw(*found, 4, seed=0)
    assert not {*draw.learned} & {*draw.tested}
    assert len(draw.learned) == 5 * 4
    assert len(draw.tested) == 5 * 3
    assert len(teach.Draw(*found, None, seed=0).learned) == 5 * 6


@pytest.mark.parametrize("name", teach.OTHERS)
def test_each_method_learns(found: tuple[teach.Photographs, teach.Photographs], name: str) -> None:
    score = teach.Draw(*found, None, seed=1).compare(teach.OTHERS[name])
    assert score.photographs == 30
    assert score.landmark_f1 > 0.8


def test_mirror_images_are_further_rows(
    found: tuple[teach.Photographs, teach.Photographs],
) -> None:
    one, two = (found[0].lesson(range(45), found[1].rows[:, 0], views) for views in (1, 2))
    assert (one.count, two.count) == (45, 90)
    assert np.isin(one.landmarks["tower"].view("V48"), two.landmarks["tower"].view("V48")).all()


def test_the_table(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "teach.csv"
    words = [folder / "photographs", "--base", folder / "base.tflite", "--unknown"]
    words += [folder / "other", "--draws", 2, "--each", 4, "--each", 0, "--out", out]
    done = CliRunner().invoke(teach.main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    lines = out.read_text().splitlines()
    assert lines[2] == "# data: photographs; 2 draws of each row"
    rows = list(csv.DictReader(lines[3:]))
    assert [row["method"] for row in rows][:3] == [
        "teach",
        "teach, with mirror images",
        "class means",
    ]
    assert {row["each"] for row in rows} == {"4", "all"}
    taught = next(row for row in rows if row["each"] == "all")
    assert float(taught["low"]) <= float(taught["landmark_f1"]) <= float(taught["high"])
    assert float(taught["landmark_f1"]) > 0.8
    assert float(taught["kept"]) > 60 > float(taught["other_things"])


def test_four_bits_against_eight(found: tuple[teach.Photographs, teach.Photographs]) -> None:
    scores = dict(teach.measure(*found, None, 2, coarse=True))
    assert list(scores) == ["teach", "teach, with 4 bits"]
    assert min(one.landmark_f1 for drawn in scores.values() for one in drawn) > 0.8
    assert scores["teach"][0].kept is None
