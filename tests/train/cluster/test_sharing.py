"""Each worker has its share; together they have what one process has."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmedge.evaluation.folders import LabelledImage
from lmedge.image import Resize
from lmedge.train.cluster import facts, sharing
from lmedge.train.cluster.sharing import ImageShares, owner_of, summed
from lmedge.train.cluster.team import Team
from lmedge.train.data.similar import fingerprint_all
from lmedge.train.data.store import ImageStore
from lmedge.train.fitting.discriminant import discriminant
from tests import small_run
from tests.train.cluster.test_meeting import cluster, met

IMAGES = [
    LabelledImage(Path(f"data/{number % 3}/{number}.jpg"), f"landmark {number % 3}", "category")
    for number in range(50)
]
Together = Callable[[Callable[[Team], Any]], list[Any]]


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Iterator[Together]:
    """Run a function as each of three workers, in a thread each, and return what they return."""
    local = threading.local()
    for module in (sharing, facts):
        monkeypatch.setattr(module, "team", lambda: getattr(local, "team", None))
    with met(cluster(3)) as teams, concurrent.futures.ThreadPoolExecutor(3) as pool:

        def run(function: Callable[[Team], Any]) -> list[Any]:
            def one(team: Team) -> Any:
                local.team = team
                return function(team)

            return list(pool.map(one, teams))

        yield run


def test_alone_everything_is_ones_own() -> None:
    whole = ImageShares.of(IMAGES)
    assert whole.chosen(IMAGES) == IMAGES
    assert whole.key == ""
    rows = np.arange(50)
    assert whole.whole(rows) is rows
    assert summed(rows.astype(float)).tolist() == rows.tolist()


def test_every_image_belongs_to_one_worker_by_its_names(together: Together) -> None:
    shares = together(lambda _: ImageShares.of(IMAGES).own.tolist())
    assert sorted(place for own in shares for place in own) == list(range(50))
    assert min(map(len, shares)) > 8
    moved = dataclasses.replace(IMAGES[7], path=Path("/elsewhere/7.jpg"))
    assert owner_of(moved, 3) == owner_of(IMAGES[7], 3)


def test_names_in_other_forms_of_unicode_have_the_same_worker() -> None:
    one, other = (LabelledImage(Path(f"{name}.jpg"), "a", "b") for name in ("\u00e9", "e\u0301"))
    assert owner_of(one, 1 << 30) == owner_of(other, 1 << 30)


def test_rows_and_values_are_put_together(together: Together) -> None:
    def work(_: Team) -> tuple[list[float], list[Any]]:
        own = ImageShares.of(IMAGES)
        rows = np.concatenate([own.own, own.own + 100]).astype(np.float32)
        values = [[place, "ß"] for place in own.own.tolist()]
        return own.whole(rows[:, None], copies=2)[:, 0].tolist(), own.merged(values)

    for rows, values in together(work):
        assert rows == [*range(50), *range(100, 150)]
        assert values == [[place, "ß"] for place in range(50)]


def test_sums_are_the_same_on_all_workers(together: Together) -> None:
    found = together(lambda team: summed(np.full((2, 2), 0.1 * (team.number + 1))))
    assert all(np.array_equal(one, found[0]) for one in found)
    np.testing.assert_allclose(found[0], 0.6, rtol=1e-15)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_closed_form_is_that_of_one_process(weighted: bool, together: Together) -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(50) % 3
    features = (rng.normal(0, 1, (100, 6)) + np.tile(truth, 2)[:, None]).astype(np.float32)
    weights = rng.uniform(0.5, 1.5, 100).astype(np.float32) if weighted else None
    given = (np.tile(truth, 2), weights, 3)
    kernel, bias = discriminant(features, *given, shrinkage=0.3, smoothing=0.1)

    def work(_: Team) -> Any:
        places = ImageShares.of(IMAGES).own
        own = np.concatenate([places, places + 50])
        return discriminant(features[own], *given, shrinkage=0.3, smoothing=0.1, own=own.tolist())

    for found_kernel, found_bias in together(work):
        np.testing.assert_allclose(found_kernel, kernel, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(found_bias, bias, rtol=1e-6, atol=1e-7)


def test_each_worker_reads_its_share_and_all_know_the_same(
    together: Together, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    images = [
        LabelledImage(
            small_run.save(data / f"{number}.jpg", small_run.draw((90, 90, 90), number)), "a", "b"
        )
        for number in range(12)
    ]
    images[5].path.write_bytes(b"no image")

    def work(team: Team) -> Any:
        store = ImageStore(32, Resize.SQUASH, tmp_path / f"cache-{team.number}")
        entries, skipped = store.admit(images)
        looks = fingerprint_all(entries, store)
        cached = {path.name[:64] for path in store.folder.rglob("*.rgb")}
        return entries, skipped, {name: one.grey.tolist() for name, one in looks.items()}, cached

    found = together(work)
    alone = ImageStore(32, Resize.SQUASH, tmp_path / "alone")
    entries, skipped = alone.admit(images)
    looks = {name: one.grey.tolist() for name, one in fingerprint_all(entries, alone).items()}
    assert len(entries) == 11 and "5.jpg" in skipped[0]
    for one in found:
        assert one[:3] == (entries, skipped, looks)
    caches = [one[3] for one in found]
    assert sum(map(len, caches)) == 11
    assert set.union(*caches) == {entry.sha256 for entry in entries}


def test_other_files_are_known_before_one_is_read(together: Together, tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        for name in ("1.jpg", "2.jpg"):
            (folder / "b" / "a").mkdir(parents=True, exist_ok=True)
            (folder / "b" / "a" / name).write_bytes(b"x")
    (folders[2] / "b" / "a" / "2.jpg").write_bytes(b"another size")

    def work(team: Team) -> str | None:
        inside = folders[team.number] / "b" / "a"
        images = [LabelledImage(inside / name, "a", "b") for name in ("1.jpg", "2.jpg")]
        try:
            facts.compare_workers(facts.listing_facts(images))
        except facts.WorkersDifferError as error:
            return str(error)
        return None

    lines = together(work)
    assert len(set(lines)) == 1
    assert lines[0] is not None
    assert "worker 3" in lines[0] and "has other files of landmark 'a' than" in lines[0]
