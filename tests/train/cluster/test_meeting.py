"""The meeting of workers on loopback: who waits for whom, how long, and who is refused."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmedge.errors import DeviceError, LmedgeError, WorkerLostError, WorkersDifferError
from lmedge.train.cluster import meeting
from lmedge.train.cluster.facts import gather
from lmedge.train.cluster.meeting import meet
from lmedge.train.cluster.team import Team
from lmedge.train.options import Cluster
from tests.processes import assert_refused, free_port, lmedge


def cluster(size: int = 2, wait: float = 20.0) -> list[Cluster]:
    addresses = tuple(f"127.0.0.1:{free_port()}" for _ in range(size))
    return [Cluster(addresses=addresses, number=number, wait=wait) for number in range(size)]


def config(one: Cluster) -> str:
    task = {"type": "worker", "index": one.number}
    return json.dumps({"cluster": {"worker": one.addresses}, "task": task})


@contextlib.contextmanager
def met(members: list[Cluster]) -> Iterator[list[Team]]:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        teams = [
            Team(one, links) for one, links in zip(members, pool.map(meet, members), strict=True)
        ]
    try:
        yield teams
    finally:
        for team in teams:
            team.finish()


def test_workers_exchange_bytes_in_the_order_of_their_numbers() -> None:
    with met(cluster(3)) as teams, concurrent.futures.ThreadPoolExecutor() as pool:
        for step in range(3):
            given = [bytes([number]) * (1 << 20 * (number == step)) for number in range(3)]
            found = list(pool.map(gather, teams, given))
            assert found == [given] * 3


def test_the_port_of_the_chief_is_free_again_for_tensorflow() -> None:
    members = cluster()
    with met(members), socket.create_server(members[0].place(0)):
        pass


@pytest.mark.parametrize("number", [0, 1])
def test_a_port_in_use_is_known_before_anything_else(number: int) -> None:
    one = cluster()[number]
    with (
        socket.create_server(one.place(number)),
        pytest.raises(DeviceError, match=rf"port {one.place(number)[1]} of TF_CONFIG is in use"),
    ):
        meet(one)


@pytest.mark.parametrize("number", [0, 1])
def test_a_worker_that_waits_says_for_whom_and_how_long(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one = cluster(wait=1.5)[number]
    with pytest.raises(WorkerLostError) as found:
        meet(one)
    other = one.name(1 - number)
    assert f"waiting for {other}, for 1 s of at most 2" in caplog.text
    assert str(found.value).startswith(f"{other} did not come within 2 s")
    assert "--wait-for-workers" in str(found.value)
    if number:
        assert "(connection refused)" in str(found.value)


def test_another_program_at_the_address_of_the_chief_is_named() -> None:
    one = cluster(wait=1.5)[1]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        server = socket.create_server(one.place(0))
        waiting = pool.submit(meet, one)
        link, _ = server.accept()
        link.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n" + bytes(9))
        link.close()
        server.close()
        with pytest.raises(WorkerLostError, match="did not come within 2 s"):
            waiting.result()


def test_strangers_at_the_port_of_the_chief_do_not_disturb() -> None:
    members = cluster()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        chief = pool.submit(meet, members[0])
        with contextlib.ExitStack() as stack:
            for noise in (b"", b"GET / HTTP/1.0\r\n\r\n", bytes(40)):
                link = stack.enter_context(connected(members[0]))
                link.sendall(noise)
            worker = pool.submit(meet, members[1])
            links = [*chief.result().values(), *worker.result().values()]
    for one in links:
        one.close()


def connected(one: Cluster) -> socket.socket:
    until = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(one.place(0))
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.05)


def outcome(one: Cluster) -> LmedgeError | None:
    try:
        for link in meet(one).values():
            link.close()
    except LmedgeError as error:
        return error
    return None


@pytest.mark.parametrize("what", ["addresses in TF_CONFIG", "version of lmedge"])
def test_other_addresses_or_messages_are_a_difference(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = cluster()
    if what.startswith("addresses"):
        others = (members[0].addresses[0], f"127.0.0.1:{free_port()}")
        members[1] = Cluster(addresses=others, number=1, wait=20.0)
    else:
        greeting = meeting._hello

        def older(one: Cluster) -> meeting.Message:
            about = {**greeting(one).about, "protocol": 0}
            return meeting.Message(kind="hello", about=about)

        monkeypatch.setattr(meeting, "_hello", older)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = list(pool.map(outcome, members))
    for error in found:
        assert isinstance(error, WorkersDifferError)
        assert f"worker 2 has another {what} than worker 1, the chief" in str(error)


def test_two_workers_with_one_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are on two machines: on one the second finds its port in use."""
    own = meeting._listening
    monkeypatch.setattr(
        meeting, "_listening", lambda one: own(one) if one.chief else contextlib.nullcontext()
    )
    members = cluster(3)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = list(pool.map(outcome, [members[0], members[1], members[1]]))
    assert isinstance(found[0], DeviceError)
    assert all("two processes are worker 2" in str(error) for error in found), found


class TestProcesses:
    """`lmedge train` itself; TensorFlow is not loaded before the workers have met."""

    def words(self, data: Path, out: Path) -> list[object]:
        return ["train", data, "--out", out, "--weights", "none", "--distribute", "multiworker"]

    def test_other_settings_end_all_with_one_line(self, tmp_path: Path) -> None:
        members = cluster()
        data, out = tmp_path, tmp_path / "out"

        def train(one: Cluster) -> subprocess.CompletedProcess[str]:
            other = ["--seed", one.number, "--set", f"head.epochs={7 + one.number}"]
            return lmedge("-q", *self.words(data, out), *other, TF_CONFIG=config(one))

        with concurrent.futures.ThreadPoolExecutor() as pool:
            for done in pool.map(train, members):
                line = (
                    f"{members[0].name(1)} has another head.epochs (8, not 7), another --seed "
                    f"(1, not 0) than {members[0].name(0)}"
                )
                assert_refused(done, 16, line)
        assert not out.exists()

    def test_a_limit_is_a_line(self, tmp_path: Path) -> None:
        one = cluster()[1]
        words = [*self.words(tmp_path, tmp_path / "out"), "--wait-for-workers", 1]
        done = lmedge("-q", *words, TF_CONFIG=config(one))
        assert_refused(done, 17, f"{one.name(0)} did not come within 1 s (connection refused)")

    @pytest.mark.parametrize(
        ("number", "worker"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGTERM, 1)]
    )
    def test_a_signal_ends_a_worker_that_waits(
        self, number: signal.Signals, worker: int, tmp_path: Path
    ) -> None:
        one = cluster()[worker]
        with subprocess.Popen(
            [sys.executable, "-m", "lmedge", *map(str, self.words(tmp_path, tmp_path / "out"))],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CONFIG": config(one)},
        ) as process:
            assert process.stderr is not None
            assert f"waiting for {one.name(1 - worker)}" in process.stderr.readline()
            began = time.monotonic()
            process.send_signal(number)
            rest = process.stderr.read()
            assert process.wait(10) == 128 + number
        assert time.monotonic() - began < 2
        assert "Traceback" not in rest
