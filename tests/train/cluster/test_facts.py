"""The differences between workers, in one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from lmedge.train.cluster import facts
from lmedge.train.cluster.facts import difference, image_facts
from lmedge.train.data.split import Split
from lmedge.train.data.store import ImageEntry
from lmedge.train.run import Run

NAMES = ("worker 1, the chief (a:1)", "worker 2 (b:1)", "worker 3 (c:1)")


def line(*found: dict[str, str]) -> str | None:
    return difference(found, NAMES[: len(found)])


def test_equal_workers_have_no_line() -> None:
    assert line({"a": "1"}, {"a": "1"}, {"a": "1"}) is None


def test_versions_and_settings_are_named_for_each_worker() -> None:
    first = {"lmedge": "1.0", "tensorflow": "2.21.0", "head.epochs": "8"}
    found = line(first, {**first, "tensorflow": "2.20.0"}, {**first, "head.epochs": "9"})
    assert found is not None
    assert found.startswith(
        "worker 2 (b:1) has another tensorflow (2.20.0, not 2.21.0); worker 3 (c:1) has another "
        "head.epochs (9, not 8) than worker 1, the chief (a:1); give all workers the same"
    )


def test_many_differences_are_counted() -> None:
    first = {f"head.{name}": "1" for name in "abcdef"}
    found = line(first, dict.fromkeys(first, "2"))
    assert found is not None
    assert "head.d (2, not 1), 2 more than" in found
    assert "head.e" not in found


def changed(run: Run, part: str, change: object) -> Run:
    entries = [change(entry) for entry in run.entries(part)]  # type: ignore[operator]
    parts = {**run.split.parts, part: tuple(entry for entry in entries if entry is not None)}
    return dataclasses.replace(run, split=Split(parts))


def told(run: Run, other: Run) -> str:
    found = line(image_facts(run), image_facts(other))
    assert found is not None
    return found.partition(" has ")[2].partition(" than ")[0]


def with_tower(run: Run, **labels: str) -> Run:
    """Return a run whose images of the tower have other labels."""

    def labelled(entry: ImageEntry) -> ImageEntry:
        if entry.image.landmark != "tower":
            return entry
        return ImageEntry(dataclasses.replace(entry.image, **labels), entry.sha256)

    for part in ("train", "val", "test"):
        run = changed(run, part, labelled)
    return run


class TestImages:
    def test_a_renamed_landmark(self, finished_run: Run) -> None:
        other = with_tower(finished_run, landmark="Turm")
        assert told(finished_run, other) == "no landmark 'tower', an extra landmark 'Turm'"

    def test_a_missing_image(self, finished_run: Run) -> None:
        first = finished_run.entries("val")[0]
        other = changed(finished_run, "val", lambda entry: None if entry == first else entry)
        landmark = first.image.landmark
        assert (
            told(finished_run, other) == f"other images of landmark {landmark!r} in val (2, not 3)"
        )

    def test_an_image_with_other_bytes(self, finished_run: Run) -> None:
        first = finished_run.entries("train")[-1]
        other = changed(
            finished_run,
            "train",
            lambda entry: dataclasses.replace(entry, sha256="0" * 64) if entry == first else entry,
        )
        landmark = first.image.landmark
        assert told(finished_run, other) == f"other images of landmark {landmark!r} in train"

    def test_a_landmark_in_another_category(self, finished_run: Run) -> None:
        other = with_tower(finished_run, category="bridges")
        assert told(finished_run, other) == "another landmark 'tower' (bridges, not tower)"

    def test_another_order(self, finished_run: Run) -> None:
        parts = {**finished_run.split.parts, "train": finished_run.entries("train")[::-1]}
        other = dataclasses.replace(finished_run, split=Split(parts))
        assert told(finished_run, other) == "other order of the images"


def test_weights_are_named_by_their_bytes_and_their_input(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("one.h5", "same.h5", "other.h5"))
    one.write_bytes(b"weights")
    same.write_bytes(b"weights")
    other.write_bytes(b"others")
    name = facts._weights
    assert name("base") == "base"
    assert name(str(one)) == name(str(same)) != name(str(other))
    assert name(f"{one}@advprop") == f"{name(str(one))}@advprop" == name(f"{same}@advprop")
    assert name(f"{other}@advprop") != name(f"{one}@advprop")
