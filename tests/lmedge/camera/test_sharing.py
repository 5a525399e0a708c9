"""Threads beside other processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmedge.camera.choice import SECONDS, Choice, Sharing
from tests.tiny_file import image


class Machine:
    """Seconds that pass, and how much everybody and we worked in them."""

    def __init__(self) -> None:
        self.now = self.busy = self.own = 0.0

    def work(self, ours: float, others: float, seconds: float = SECONDS) -> None:
        self.now += seconds
        self.own += ours * seconds
        self.busy += (ours + others) * seconds

    def sharing(self, most: int, cores: int) -> Sharing:
        return Sharing(
            most, cores=cores, clock=lambda: self.now, busy=lambda: self.busy, own=lambda: self.own
        )


@pytest.mark.parametrize(
    ("most", "cores", "others", "threads"),
    [
        (2, 2, 0.0, 2),
        (2, 2, 0.4, 2),
        (2, 2, 1.0, 1),
        (2, 2, 2.0, 1),
        (4, 4, 1.0, 2),
        (4, 4, 3.0, 1),
        (4, 8, 3.0, 4),
    ],
)
def test_no_more_threads_than_cores_are_free(
    most: int, cores: int, others: float, threads: int
) -> None:
    machine = Machine()
    sharing = machine.sharing(most, cores)
    assert sharing.threads() == most
    machine.work(1.0, others)
    assert sharing.threads() == threads


def test_it_looks_seldom_and_goes_back_late() -> None:
    machine = Machine()
    sharing = machine.sharing(2, 2)
    machine.work(1.0, 1.0, seconds=0.9 * SECONDS)
    assert sharing.threads() == 2
    machine.work(1.0, 1.0, seconds=0.2 * SECONDS)
    assert sharing.threads() == 1
    machine.work(1.0, 0.4)  # enough to keep two threads, not to take them again
    assert sharing.threads() == 1
    machine.work(1.0, 0.1)
    assert sharing.threads() == 2


def test_a_system_that_does_not_tell_changes_nothing() -> None:
    machine = Machine()
    sharing = Sharing(4, cores=4, clock=lambda: machine.now, busy=lambda: None, own=lambda: 0.0)
    machine.work(4.0, 4.0)
    assert sharing.threads() == 4


def test_two_processes_on_two_cores_agree_on_one_thread_each() -> None:
    machines = [Machine(), Machine()]
    sides = [machine.sharing(2, 2) for machine in machines]
    for _ in range(5):
        wanted = [side.threads() for side in sides]
        used = [2.0 * mine / sum(wanted) for mine in wanted]
        for machine, ours, theirs in zip(machines, used, reversed(used), strict=True):
            machine.work(ours, theirs)
    assert [side.threads() for side in sides] == [1, 1]


def test_the_choice_gives_way_unless_someone_chose(
    tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmedge.classifier.best_threads", lambda model: 2)
    monkeypatch.setattr("lmedge.camera.choice.SECONDS", 0.0)
    monkeypatch.setattr("lmedge.camera.choice.os.cpu_count", lambda: 2)
    choice = Choice([tiny_file])
    assert choice.current.interpreter.threads <= 2  # what others do here is not for a test to say
    monkeypatch.setattr(Sharing, "threads", lambda self: 1)
    fewer = choice.current
    assert fewer.interpreter.threads == 1
    assert choice.current is fewer
    assert fewer.classify(image("red")).landmark == "red"
    choice.choose(2)
    assert choice.current.interpreter.threads == 2
    assert Choice([tiny_file], 2).current.interpreter.threads == 2
