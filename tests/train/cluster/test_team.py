"""Workers at work: if one is lost, or a signal comes, all end with one line, blocked or not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from tests.locations import ROOT
from tests.processes import free_port

# A worker without TensorFlow. Its main thread works, waits for the others, or is in a C call that
# no signal ends, as TensorFlow's are; a worker is lost after two seconds of silence.
CODE = """
import ctypes, sys, time
from lmedge.errors import DataError
from lmedge.train.cluster import team
from lmedge.train.cluster.facts import gather
from lmedge.train.options import DeviceOptions

team.SILENCE = 2.0
what = sys.argv[1]
with team.joined(DeviceOptions(distribute="multiworker").cluster) as signals:
    workers = team.team()
    workers.begun = lambda: True
    workers.cleanups.append(lambda: print("cleaned", flush=True))
    signals.install()
    gather(workers, b"")
    team.note("step 12 of epoch 3 of landmark-head")
    time.sleep(1.5)
    print("at work", flush=True)
    if what == "blocked":
        lock, library = ctypes.create_string_buffer(64), ctypes.CDLL(None)
        library.pthread_mutex_lock(lock)
        library.pthread_mutex_lock(lock)
    elif what == "waits":
        gather(workers, b"")
    elif what == "fails":
        raise DataError("a.jpg: changed; put it back")
    elif what == "works":
        while True:
            time.sleep(0.01)
print("done", flush=True)
"""


@contextmanager
def workers(*tasks: str, inside: Sequence[str] = ()) -> Iterator[list[subprocess.Popen[str]]]:
    """Start a worker for each task, by a command in front, and give them once all are at work."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in tasks]
    with ExitStack() as stack:
        started = []
        for index, task in enumerate(tasks):
            place = {"type": "worker", "index": index}
            config = json.dumps({"cluster": {"worker": addresses}, "task": place})
            process = stack.enter_context(
                subprocess.Popen(
                    [*inside, sys.executable, "-c", CODE, task],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CONFIG": config},
                )
            )
            stack.callback(process.kill)
            started.append(process)
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "at work\n"
        yield started


@contextmanager
def network() -> Iterator[list[str]]:
    """Give the command that runs another one in a network of its own: a loopback device."""
    words = ["unshare", "--map-root-user", "--net", "sh", "-c"]
    script = "ip link set lo up && echo up && exec sleep 300"
    try:
        holder = subprocess.Popen([*words, script], stdout=subprocess.PIPE, text=True)
    except FileNotFoundError as error:
        pytest.skip(f"no network namespace: {error}")
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != "up\n":
            pytest.skip("no network namespace: unshare and ip need the rights and the package")
        target = ["--target", str(holder.pid), "--user", "--net", "--preserve-credentials"]
        yield ["nsenter", *target]
    finally:
        holder.kill()
        holder.communicate()


def ended(process: subprocess.Popen[str], seconds: float) -> tuple[int, str]:
    """Wait at most `seconds`; return the exit code and standard error."""
    began = time.monotonic()
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - began < seconds
    return process.returncode, said


@pytest.mark.parametrize("task", ["blocked", "waits", "works"])
def test_a_killed_worker_ends_the_others(task: str) -> None:
    with workers(task, "works") as (chief, other):
        other.kill()
        code, said = ended(chief, 3)
    assert code == 17
    line = "was lost at step 12 of epoch 3 of landmark-head: its connection ended; start all again"
    assert said.startswith("lmedge: worker 2 (127.0.0.1:")
    assert said.endswith(f"{line} with --resume\n")
    assert said.count("\n") == 1


def test_a_stopped_worker_ends_the_others_all_with_the_same_line() -> None:
    with workers("blocked", "works", "waits") as (chief, lost, third):
        lost.send_signal(signal.SIGSTOP)
        codes, lines = zip(ended(chief, 6), ended(third, 6), strict=True)
        lost.send_signal(signal.SIGCONT)
        assert ended(lost, 3)[0] == 17  # the others are gone
    assert codes == (17, 17)
    assert lines[0] == lines[1]
    assert "worker 2 (127.0.0.1:" in lines[0]
    assert "nothing was heard of it for 2 s" in lines[0]


def test_a_machine_that_slept_with_its_workers_has_lost_none() -> None:
    with workers("works", "works") as started:
        for process in started:
            process.send_signal(signal.SIGSTOP)
        time.sleep(4)
        for process in started:
            process.send_signal(signal.SIGCONT)
        time.sleep(4)  # twice the silence after which a worker is lost
        assert [process.poll() for process in started] == [None, None]


@pytest.mark.parametrize(
    "drop",
    [
        # What is longer than the queue is dropped, and every packet is.
        "tc qdisc add dev lo root tbf rate 8bit burst 1 limit 1",
        "ip link set lo down",
    ],
    ids=["packets dropped", "link down"],
)
def test_workers_end_that_do_not_hear_of_each_other_any_more(drop: str) -> None:
    """The machine or its network vanishes: no connection is closed, nothing arrives."""
    with network() as inside, workers("blocked", "works", inside=inside) as (chief, other):
        done = subprocess.run([*inside, *drop.split()], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{drop}: {done.stderr.strip()}")
        code, said = ended(chief, 6)
        other_code, other_said = ended(other, 6)
    assert (code, other_code) == (17, 17)
    assert "worker 2 (127.0.0.1:" in said
    assert "worker 1, the chief (127.0.0.1:" in other_said
    for line in (said, other_said):
        assert "nothing was heard of it for 2 s" in line
        assert line.count("\n") == 1


def test_a_lost_chief_ends_the_others() -> None:
    with workers("works", "blocked") as (chief, other):
        chief.kill()
        code, said = ended(other, 3)
    assert code == 17
    assert "worker 1, the chief (127.0.0.1:" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_blocked_worker_within_two_seconds(number: signal.Signals) -> None:
    with workers("blocked", "works") as (chief, other):
        chief.send_signal(number)
        code, said = ended(chief, 2)
        other_code, other_said = ended(other, 3)
    assert (code, said) == (128 + number, f"lmedge: ended by {number.name}\n")
    assert other_code == 17
    assert f"ended at step 12 of epoch 3 of landmark-head: ended by {number.name}" in other_said


def test_a_blocked_worker_cleans_up() -> None:
    with workers("blocked", "works") as (chief, other):
        other.kill()
        printed, _ = chief.communicate(timeout=10)
    assert printed == "cleaned\n"


def test_an_error_of_one_worker_is_told_by_all() -> None:
    with workers("waits", "fails") as (chief, other):
        assert ended(other, 3) == (3, "lmedge: a.jpg: changed; put it back\n")
        code, said = ended(chief, 3)
    assert code == 17
    assert "worker 2 (127.0.0.1:" in said
    assert "a.jpg: changed; put it back; start all again" in said


def test_a_worker_that_is_done_is_not_lost() -> None:
    with workers("works", "done") as (chief, other):
        assert ended(other, 3) == (0, "")
        time.sleep(2.5)  # longer than the silence of a lost one
        assert chief.poll() is None


def test_a_worker_that_waits_for_one_that_is_done_ends() -> None:
    with workers("waits", "done") as (chief, other):
        assert ended(other, 3) == (0, "")
        code, said = ended(chief, 3)
    assert code == 17
    assert "worker 2 (127.0.0.1:" in said
    assert "has ended already" in said
