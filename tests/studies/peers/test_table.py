"""The peers' table: ratios against the first of the same work, outputs against float32."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies.peers.__main__ import measure
from benchmarks.studies.peers.lineup import FRAME, LARGE_JPEG, NETWORK, SMALL_JPEG, Place, answers
from benchmarks.studies.peers.table import Timed, check_same_network, compare, rows
from lmedge.benchmarks.workers.parent import bare, classifier
from lmedge.errors import LmedgeError
from lmedge.model_file import read_model

NAN = math.nan


def scores(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_each_work_has_a_first_of_its_own() -> None:
    noise = 1 + np.random.default_rng(0).exponential(0.5, 200)
    told = [
        Timed(name="ours", runtime="r 1", work="alone", bytes=10, target=None, times=2.0 * noise),
        Timed(name="theirs", runtime="s 2", work="alone", bytes=20, target=1.5, times=6.0 * noise),
        Timed(
            name="our frame", runtime="r 1", work="frame", bytes=10, target=None, times=4.0 * noise
        ),
        Timed(
            name="their frame",
            runtime="t 3",
            work="frame",
            bytes=10,
            target=1.15,
            times=5.0 * noise,
        ),
    ]
    same = scores([0.7, 0.3], [0.2, 0.8])
    found = rows(told, {one.name: same for one in told}, "theirs")
    assert [row.ratio for row in found] == pytest.approx([1, 3, 1, 1.25])
    assert [row.against for row in found] == ["ours", "ours", "our frame", "our frame"]
    assert [row.target for row in found] == [None, 1.5, None, 1.15]
    for row in found:
        assert row.ratio_low <= row.ratio <= row.ratio_high
        assert row.ratio_high - row.ratio_low < 1e-9  # what hits both of a round says nothing
        assert (row.rounds, row.pictures, row.same_landmark) == (200, 2, 1.0)


def test_scores_that_are_not_reported_are_not_compared() -> None:
    reference = scores([0.7, 0.3], [0.2, 0.8], [0.6, 0.4])
    assert compare(reference, reference) == (1.0, 0.0)
    same, difference = compare(scores([0.3, 0.7], [0.2, 0.8], [0.6, 0.4]), reference)
    assert (same, difference) == (pytest.approx(2 / 3), pytest.approx(0.4))
    assert compare(scores([0.7, NAN], [NAN, 0.8], [NAN, NAN]), reference) == (1.0, 0.0)
    same, difference = compare(scores([NAN, 0.5], [NAN, NAN], [0.6, NAN]), reference)
    assert (same, difference) == (0.5, pytest.approx(0.2))
    with pytest.raises(LmedgeError, match="no score"):
        compare(scores([NAN, NAN]), reference[:1])


def test_another_network_is_refused() -> None:
    near, far = scores([0.5, 0.5]), scores([0.5, 0.502])
    check_same_network({"a": near, "b": near + np.float32(1e-5)}, "a", "b")
    with pytest.raises(LmedgeError, match=r"a is not the network of b: .* 0\.002"):
        check_same_network({"a": far, "b": near}, "a", "b")
    with pytest.raises(LmedgeError, match="nan"):
        check_same_network({"a": scores([NAN, 0.5]), "b": near}, "a", "b")


class Worker:
    """A worker with a clock of its own: each run takes one nanosecond more."""

    label = "r 1"

    def __init__(self, name: str, order: list[str]) -> None:
        self.name, self.order, self.runs = name, order, 0
        self.shape: tuple[int, ...] = ()

    def show(self, image: np.ndarray) -> None:
        self.shape = image.shape

    def time(self, runs: int) -> int:
        self.order.append(self.name)
        self.runs += runs
        return self.runs


def test_every_place_sees_what_its_work_begins_with_and_takes_its_turn() -> None:
    order: list[str] = []
    works = (NETWORK, FRAME, SMALL_JPEG, LARGE_JPEG)
    workers = {work: Worker(work, order) for work in works}
    places = [Place(name=work, work=work, worker=workers[work], bytes=1) for work in works]  # type: ignore[arg-type]
    timed = measure(places, np.zeros((32, 32, 3), np.uint8), rounds=10)
    assert [workers[work].shape for work in works[:3]] == [(32, 32, 3), *[(480, 640, 3)] * 2]
    height, width, _ = workers[LARGE_JPEG].shape
    assert height * width == pytest.approx(12e6, rel=0.01)
    assert all(set(order[at : at + 4]) == set(works) for at in range(0, len(order), 4))
    for one in timed:  # in milliseconds, without the five rounds that warm up
        assert (one.times * 1e6).round().tolist() == list(range(6, 16))


def test_places_are_timed_in_turns_with_litert_alone(
    tiny_file: Path, float_file: Path, images: np.ndarray
) -> None:
    model, whole = read_model(tiny_file), read_model(float_file)
    small = images[:, :32, :32]
    with (
        bare("interpreter", model, sys.executable, name="int8", runtime="litert") as bare_worker,
        classifier("frame", tiny_file, "litert") as classify,
    ):
        places = [
            Place(name="int8", work=NETWORK, worker=bare_worker, bytes=1),
            Place(name="frame", work=FRAME, worker=classify, bytes=1),
        ]
        said = answers(places, small[:3])
        assert said["int8"].tobytes() == said["frame"].tobytes()
        timed = measure(places, small[0], rounds=20)
    assert [one.runtime.split()[0] for one in timed] == ["ai-edge-litert"] * 2
    assert all(one.times.shape == (20,) and (one.times > 0).all() for one in timed)
    with bare("interpreter", whole, sys.executable, name="float", runtime="litert") as worker:
        assert worker.answer(images[0])["landmark"].sum() == pytest.approx(1, abs=1e-5)
