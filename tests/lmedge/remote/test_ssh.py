"""What is passed to ssh, rsync and scp, and what never is."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from lmedge.benchmarks import command
from lmedge.benchmarks.remote import default_folder
from lmedge.errors import DataError, HostError
from lmedge.evaluation.folders import scan
from lmedge.remote import ssh
from lmedge.remote.host import RemoteHost, RemotePython, choose_python
from lmedge.remote.link import Link, check_host, check_option
from lmedge.remote.payload import Payload, megabytes
from lmedge.remote.ssh import Connection
from tests.sshd import SSHD, Server, serve, user

needs_sshd = pytest.mark.skipif(
    not Path(SSHD).exists() or not all(map(shutil.which, ("ssh", "ssh-keygen"))),
    reason="no sshd here: sudo apt install openssh-server",
)


@pytest.mark.parametrize("name", ["pi@board", "board.local", "a.b@10.0.0.7", "pi@fe80::1%eth0"])
def test_names_of_machines(name: str) -> None:
    assert check_host(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-oProxyCommand=id", "pi@-oX=1", "-l@board", "a b", "pi@", "a\nb", "board/x", "a\x1b[1m"],
)
def test_what_is_no_name_of_a_machine(name: str) -> None:
    with pytest.raises(ValueError, match="USER@BOARD"):
        check_host(name)


@pytest.mark.parametrize("key", ["StrictHostKeyChecking", "stricthostkeychecking"])
def test_the_check_of_host_keys_cannot_be_switched_off(key: str) -> None:
    with pytest.raises(ValueError, match="always checked"):
        check_option(f"{key}=no")
    for interactive in (True, False):
        link = Link(host="board", options=(f"{key}=no",), interactive=interactive)
        words = link.settings(Path("/tmp/s"))
        first = next(word for word in words if word.lower().startswith("stricthostkey"))
        assert first == f"StrictHostKeyChecking={'ask' if interactive else 'yes'}"
        assert ("BatchMode=no" if interactive else "BatchMode=yes") in words


def test_options_are_key_and_value() -> None:
    assert check_option("Port=2222") == "Port=2222"
    for text in ("Port", "-F x=y", "=x"):
        with pytest.raises(ValueError, match="KEY=VALUE"):
            check_option(text)


def test_addresses() -> None:
    assert Link(host="pi@board").address("/x/") == "pi@board:/x/"
    assert Link(host="pi@::1").address("/x/") == "pi@[::1]:/x/"


def python(path: str, **changes: object) -> RemotePython:
    facts: dict[str, object] = {"version": (3, 11), "missing": (), "lmedge": None, **changes}
    return RemotePython(path=path, **facts)  # type: ignore[arg-type]


def test_the_python_that_needs_least_is_chosen() -> None:
    old = python("old", version=(3, 9))
    empty = python("empty", missing=("numpy",))
    ready, other = python("ready"), python("other", lmedge="0.0.1")
    from lmedge import __version__

    whole = python("whole", lmedge=__version__)
    assert choose_python([old, empty, ready, whole], "b") is whole
    assert choose_python([old, empty, other], "b") is other and other.rank == 1
    assert choose_python([old, empty], "b") is empty
    with pytest.raises(HostError, match=r"b: no Python 3\.11"):
        choose_python([old], "b")


def test_only_the_images_asked_for_travel(photographs: Path, tmp_path: Path) -> None:
    data = tmp_path / "my data"
    (data / "train").mkdir(parents=True)
    (data / "test").mkdir()
    for part in ("train", "test"):
        for category in photographs.iterdir():
            (data / part / category.name).symlink_to(category)
    hostile = "-rf $(touch x)'\n\udcff.jpg"
    image = next((data / "test" / "towers" / "red").iterdir())
    os.link(image.resolve(), data / "test" / "towers" / "red" / hostile)
    (data / "test" / "notes.txt").write_text("private")
    payload = Payload(
        files=(tmp_path / "-x.tflite",),
        options=("--threads", "2"),
        data=data,
        part="test",
        pictures=scan(data, "test"),
    )
    (tmp_path / "-x.tflite").write_bytes(b"12345")
    packed = tmp_path / "payload"
    packed.mkdir()
    words = payload.pack(packed)
    assert words == [
        "files/0/-x.tflite",
        "--data",
        "photographs/my data",
        "--part",
        "test",
        "--threads",
        "2",
    ]
    sent = packed / "photographs" / "my data"
    names = [path.relative_to(sent) for path in sent.rglob("*") if path.is_file()]
    assert len(names) == 9 and all(name.parts[0] == "test" for name in names)
    assert Path("test", "towers", "red", hostile) in names
    there = scan(sent, "test")  # read there as it is read here
    assert [(one.landmark, one.category) for one in there] == [
        (one.landmark, one.category) for one in scan(data, "test")
    ]
    assert megabytes(packed) > 5e-6


def test_a_table_of_categories_travels_too(photographs: Path, tmp_path: Path) -> None:
    data = tmp_path / "flat"
    data.mkdir()
    rows = ["landmark,category"]
    for landmark in photographs.glob("*/*"):
        (data / landmark.name).symlink_to(landmark)
        rows.append(f"{landmark.name},{landmark.parent.name}")
    (data / "taxonomy.csv").write_text("\n".join(rows))
    packed = tmp_path / "payload"
    packed.mkdir()
    Payload(files=(), options=(), data=data, part=None, pictures=scan(data)).pack(packed)
    assert len(scan(packed / "photographs" / "flat")) == 8


def test_no_unknown_images_is_an_error_before_anything_travels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        Payload(files=(), unknown=tmp_path / "none").pack(tmp_path)


def test_folders_of_two_boards_differ() -> None:
    one = Payload(files=(Path("x/a.tflite"),))
    assert default_folder(one, "pi@board.local") == Path("runs/benchmark-a-board.local")
    assert default_folder(one, "fe80::1%eth0") == Path("runs/benchmark-a-fe80-1-eth0")
    two = Payload(files=(Path("a.tflite"), Path("b.tflite")))
    assert default_folder(two, "b") == Path("runs/benchmark-a-and-others-b")


def test_options_are_passed_on(monkeypatch: pytest.MonkeyPatch, photographs: Path) -> None:
    seen: list[tuple[Link, Payload, Path, str | None, bool]] = []
    monkeypatch.setattr(
        "lmedge.benchmarks.remote.benchmark_there",
        lambda link, payload, out, python, *, together: seen.append(
            (link, payload, out, python, together)
        ),
    )
    words = [
        "a.tflite",
        "b.tflite",
        "--host",
        "pi@board",
        "--threads",
        "2",
        "--quick",
        "--data",
        str(photographs),
        "--ssh-option",
        "Port=22",
        "--host-python",
        "~/env/bin/python",
        "--out",
        "here",
        "--give-up",
        "3",
    ]
    done = CliRunner().invoke(command.benchmark, words)
    assert done.exit_code == 0, done.output
    ((link, payload, out, chosen, together),) = seen
    assert together
    assert payload.options == ("--threads", "2", "--quick")
    assert (len(payload.files), len(payload.pictures), out) == (2, 8, Path("here"))
    assert (link.options, link.patience, chosen) == (("Port=22",), 3.0, "~/env/bin/python")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host-python", "x"], "need --host"),
        (["--ssh-option", "Port=1"], "need --host"),
        (["--host", "-oX"], "USER@BOARD"),
        (["--host", "b", "--ssh-option", "StrictHostKeyChecking=no"], "always checked"),
        (["--host", "b", "--runs", "3", "--quick"], "exclude"),
    ],
)
def test_mistakes_in_the_command_line(words: list[str], said: str) -> None:
    done = CliRunner().invoke(command.benchmark, ["a.tflite", *words])
    assert done.exit_code == 2
    assert said in done.output


class LocalShell:
    """A connection whose scripts run here, where no folder can be made under TMPDIR."""

    link = Link(host="board")

    def run(self, script: str, most: int | None = None) -> str:
        ended = subprocess.run(
            ["sh"],
            input=script,
            env={"PATH": os.environ["PATH"], "TMPDIR": "/proc"},
            capture_output=True,
            text=True,
            check=True,
        )
        return ended.stdout


def test_ctrl_c_between_two_steps_of_a_command_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the command nor what bounds its time, which would keep this process for an hour."""
    fake = tmp_path / "ssh"
    fake.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 600\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    connection = Connection(Link(host="board"))
    timers, start = [], threading.Timer.start

    def interrupted(timer: threading.Timer) -> None:
        start(timer)
        timers.append(timer)
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threading.Timer, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            connection.run("echo there")
    (timer,) = timers
    timer.join(10)
    assert not timer.is_alive()
    assert timer.daemon
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    fake.write_text("#!/bin/sh\n")
    connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, where nothing can be made")
def test_a_full_disk_takes_no_folder_and_another_place_does() -> None:
    host = RemoteHost(LocalShell())  # type: ignore[arg-type]
    host.prepare(sys.executable)
    folder = Path(host.folder)
    try:
        assert folder.is_dir()
        assert folder.parent != Path("/proc")
        assert folder.stat().st_mode & 0o777 == 0o700
        host.prepare(sys.executable)
        assert Path(host.folder) == folder
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="needs the boot ID of Linux")
def test_what_a_power_cut_left_is_removed_and_nothing_else() -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    left, running, older = (
        Path(tempfile.mkdtemp(prefix=f"lmedge-{name}", dir="/var/tmp")) for name in "abc"
    )
    (left / "boot").write_text("another\n")
    (left / "packages").mkdir()
    (running / "boot").write_text(boot)
    link = running.with_name(f"{running.name}-link")
    link.symlink_to(left)
    host = RemoteHost(LocalShell())  # type: ignore[arg-type]
    try:
        host.prepare(sys.executable)
        assert not left.exists()
        assert running.is_dir()
        assert older.is_dir()  # of a version that did not write its start
        assert link.is_symlink()
        assert (Path(host.folder) / "boot").read_text() == boot
    finally:
        link.unlink()
        for folder in (running, older, Path(host.folder)):
            shutil.rmtree(folder)


@needs_sshd
def test_a_machine_that_takes_no_log_in_now_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As many boards behind one machine meet it: sshd closes beyond MaxStartups."""

    def connection(server: Server) -> Connection:
        options = [word for word in server.options() if word != "--ssh-option"]
        return Connection(Link(host=user(), options=tuple(options), interactive=False))

    def begun(server: Server) -> socket.socket:
        """Begin the only log-in that the server takes, and do not end it."""
        while True:
            waiting = socket.create_connection(("127.0.0.1", server.port))
            if waiting.recv(4) == b"SSH-":
                return waiting
            waiting.close()

    with serve(tmp_path, startups="1:100:1") as server:
        with begun(server) as waiting, connection(server) as busy:
            threading.Timer(0.7, waiting.close).start()
            assert busy.run("echo there") == "there\n"
        assert caplog.messages == [f"{user()} takes no log-in, trying again"]
        monkeypatch.setattr(ssh, "BUSY_SECONDS", 0.4)
        refused = pytest.raises(HostError, match="raise MaxStartups of the sshd")
        with begun(server), connection(server) as busy, refused:
            busy.run("echo there")
