"""Drift: only the random share counts, a scene counts once, and a fall is an exit code."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from lmedge import Classifier
from lmedge.errors import DataError
from lmedge.evaluation.intervals import wilson_interval
from lmedge.field.collected import sidecar
from lmedge.field.drift import NO_TIME, Drift, measure_drift
from lmedge.field.periods import FieldEstimate, FieldPeriod, own_reference
from tests.in_process import lmedge
from tests.lmedge.field.collecting import write_collected

OLD, NEW = ["red"] * 6, ["blue"] * 3 + ["red"] * 3
DAYS = ["2026-03-02"] * len(OLD) + ["2026-04-06"] * len(NEW)


@pytest.fixture(scope="module")
def made(tiny_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve random frames of two weeks, two without a clock that is right, and two others."""
    folder = tmp_path_factory.mktemp("drift") / "field"
    frames = [(name, True, ("random",)) for name in [*OLD, *NEW, "green", "green"]]
    frames += [("red", False, ("unknown",))] * 2
    write_collected(folder, tiny_file, frames, bursts=[0, 0, 0, 0, 0, 0, *range(1, 11)])
    for path in folder.glob("*.json"):
        about = json.loads(path.read_text("utf-8"))
        place = about["number"] - 1
        wrong = [None, "2126-01-01T10:00:00+00:00"][place % 2]
        about["time"] = f"{DAYS[place]}T10:00:00+00:00" if place < len(DAYS) else wrong
        path.write_text(json.dumps(about), "utf-8")
    return folder


@pytest.fixture(scope="module")
def found(made: Path, tiny_file: Path) -> Drift:
    return measure_drift(Classifier(tiny_file), made)


def test_periods_have_the_random_images_of_their_time(found: Drift) -> None:
    assert [one.name for one in found.periods] == ["2026-03-02", "2026-04-06", NO_TIME]
    assert [one.images for one in found.periods] == [6, 6, 2]
    assert found.left_out == 2 and found.unreadable == 0
    assert found.newest.name == "2026-04-06"
    assert found.newest.labels["blue"].value == 0.5
    assert set(found.periods[0].labels) == {"red"}


def test_a_scene_counts_once(found: Drift) -> None:
    first, second = found.periods[:2]
    assert (first.bursts, second.bursts) == (1, 6)
    widths = [one.unknown.interval[1] - one.unknown.interval[0] for one in (first, second)]
    assert widths[0] > 0.7 > widths[1]
    assert first.confidence is not None and first.confidence.interval == (0.0, 1.0)


def test_the_file_itself_or_photographs_are_what_it_is_compared_with(
    made: Path, tiny_file: Path, photographs: Path, found: Drift
) -> None:
    assert found.reference is None and found.changes() == []  # the tiny file has no metrics
    other = measure_drift(Classifier(tiny_file), made, data=photographs)
    assert other.reference is not None and other.reference.images == 8
    names = [one.figure for one in other.changes()]
    assert names == ["share of unknown images", "fall of confidence"]


def test_the_figures_of_a_file_are_those_of_photographs_it_had_not_learned() -> None:
    def found(**info: object) -> FieldPeriod | None:
        return own_reference(SimpleNamespace(info=info))  # type: ignore[arg-type]

    chosen = {"coverage": 0.95, "known": 200, "kept": None}
    tested = {"test": {"file": {"landmark": {"n": 50}}}}
    both = found(rejection={**chosen, "kept": 0.9}, metrics=tested)
    assert both is not None and (both.images, both.unknown.value) == (50, 0.1)
    for metrics in (tested, {"cross_validated": {}}, None):
        one = found(rejection=chosen, metrics=metrics)
        assert one is not None and (one.images, one.unknown.value) == (200, 0.05)
    for rejection in (None, {}, {"coverage": "x", "known": 3}, {"coverage": 2, "known": 3}, []):
        assert found(rejection=rejection, metrics=tested) is None


def test_differences_are_newcombes() -> None:
    """Newcombe 1998, method 10: 56/70 less 48/80 is 0.2, 0.0524 to 0.3339."""
    one = FieldEstimate(value=56 / 70, interval=wilson_interval(56, 70))
    other = FieldEstimate(value=48 / 80, interval=wilson_interval(48, 80))
    assert one.difference(other) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_images_that_cannot_be_read_are_counted(
    made: Path, tiny_file: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "field"))
    first, second, *_ = sorted(folder.glob("*.jpg"))
    first.write_bytes(b"no image")
    sidecar(second).write_text("{}")
    assert measure_drift(Classifier(tiny_file), folder).unreadable == 2


def test_without_a_random_share_there_is_nothing_to_measure(
    tiny_file: Path, tmp_path: Path
) -> None:
    write_collected(tmp_path / "field", tiny_file, [("red", False, ("unknown",))])
    with pytest.raises(DataError, match="holds 1 collected images and none of the random share"):
        measure_drift(Classifier(tiny_file), tmp_path / "field")


def test_a_folder_without_collected_images_is_another_mistake(
    tiny_file: Path, tmp_path: Path
) -> None:
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    empty.mkdir()
    with pytest.raises(DataError, match="no collected images; name the folder of"):
        measure_drift(Classifier(tiny_file), empty)
    write_collected(broken, tiny_file, [("red", True, ("random",))])
    for about in broken.glob("*.json"):
        about.write_text("{}")
    with pytest.raises(DataError, match="none of its 1 collected images can be used"):
        measure_drift(Classifier(tiny_file), broken)


def test_the_command_writes_a_page_and_fails_over_a_limit(
    made: Path, tiny_file: Path, photographs: Path, tmp_path: Path
) -> None:
    words = ("drift", tiny_file, made, "--data", photographs, "--threads", 1)
    done = lmedge(*words, "--out", tmp_path / "out", "--fail-over", 0.1)
    assert done.returncode == 0, done.stderr
    assert "2026-04-06" in done.stdout and "share of unknown images: +0.000" in done.stdout
    page = (tmp_path / "out" / "drift.html").read_text("utf-8")
    assert "<svg" in page and "2026-04-06" in page and "photographs" in page
    value = json.loads((tmp_path / "out" / "drift.json").read_text("utf-8"))
    assert [one["name"] for one in value["periods"]] == ["2026-03-02", "2026-04-06", NO_TIME]
    rows = list(csv.DictReader((tmp_path / "out" / "drift.csv").read_text("utf-8").splitlines()))
    assert {row["figure"] for row in rows} == {"unknown", "confidence", "label"}
    assert (tmp_path / "out" / "plots" / "labels.png").exists()
    assert lmedge("drift", tiny_file, made, "--fail-over", 0.1).returncode == 2
    assert lmedge("drift", tiny_file, made, "--part", "test").returncode == 2


def test_a_fall_beyond_doubt_is_exit_code_12(
    made: Path, tiny_file: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sure = FieldEstimate(value=0.9, interval=(0.8, 0.95))
    low = FieldEstimate(value=0.1, interval=(0.05, 0.2))
    monkeypatch.setattr(Drift, "newest", property(lambda self: changed(self, sure)))

    def changed(drift: Drift, unknown: FieldEstimate) -> object:
        return dataclasses.replace(drift.periods[-1], unknown=unknown, confidence=low)

    words = ("drift", tiny_file, made, "--data", photographs, "--threads", 1)
    done = lmedge(*words, "--fail-over", 0.1)
    assert done.returncode == 12
    assert "worse by more than 0.1: share of unknown images" in done.stderr
    assert lmedge(*words, "--fail-over", 1).returncode == 0
