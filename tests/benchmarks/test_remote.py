"""`lmedge benchmark --host` against a real sshd, under a second virtual environment."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests import bad_images
from tests.processes import assert_refused, lmedge
from tests.sshd import SSHD, Server, board_python, serve, user

pytestmark = pytest.mark.skipif(
    not Path(SSHD).exists() or not all(map(shutil.which, ("ssh", "rsync", "scp", "ssh-keygen"))),
    reason="no sshd or rsync here: sudo apt install openssh-server rsync",
)
HOSTILE = "-a b$(touch hacked)'\";x.tflite"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has lmedge, in a folder with a space."""
    return board_python(tmp_path_factory.mktemp("a board") / "venv")


def there(server: Server, board: Path | str | None, known: str = "known hosts") -> list[str]:
    python = [] if board is None else ["--host-python", str(board)]
    return ["--host", user(), *python, *server.options(known)]


def tools(folder: Path, *names: str) -> str:
    """Return a PATH on which there are these programs of this machine and no others."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(str(shutil.which(name)))
    return str(folder)


def started(server: Server) -> Path:
    """Wait until a benchmark runs on the board and return its folder."""
    for _ in range(300):
        for pid in (server.folder / "tmp").glob("*/pid"):
            if pid.read_text().strip():
                return pid.parent
        time.sleep(0.05)
    raise AssertionError("nothing was started")


def begin(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "lmedge", "-q", *map(str, arguments)]
    return subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_board_that_lacks_lmedge(
    server: Server, tiny_file: Path, photographs: Path, tmp_path: Path
) -> None:
    """It gets the modules; hostile names travel; a report that stands in --out is replaced."""
    file = tmp_path / HOSTILE
    shutil.copy(tiny_file, file)
    data = tmp_path / "my data"
    for part in ("train", "test"):
        shutil.copytree(photographs, data / part)
    red = data / "test" / "towers" / "red"
    shutil.move(red / "0.jpg", red / "-$(touch hacked) `id`\n.jpg")
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    cv2.imwrite(str(strangers / "noise.png"), noise)
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.json").write_text("old")
    (out / "mine.txt").write_text("kept")
    bare = tmp_path / "bare.sh"  # a script is run itself, not the Python it ends in
    python = board_python(tmp_path / "bare", lmedge=False)
    bare.write_text(f'#!/bin/sh\necho x >>{tmp_path}/seen\nexec {python} "$@"\n')
    bare.chmod(0o755)
    process = lmedge(
        "benchmark",
        f"./{HOSTILE}",
        *there(server, bare),
        "--data",
        data,
        "--unknown",
        strangers,
        "--runs",
        21,
        "--threads",
        2,
        "--out",
        out,
        cwd=tmp_path,
    )
    assert process.returncode == 0, process.stderr
    report = json.loads((out / "report.json").read_text())
    assert report["file"]["sha256"] == hashlib.sha256(tiny_file.read_bytes()).hexdigest()
    assert (report["latency"]["runs"], report["latency"]["threads"]) == (21, 2)
    assert report["data"] == {"path": "photographs/my data", "part": "test"}
    assert report["accuracy"]["landmark"]["n"] == 8
    assert report["accuracy"]["strangers"]["pictures"] == 1
    assert (out / "mine.txt").read_text() == "kept"
    assert len((tmp_path / "seen").read_text().split()) == 2
    assert "macro F1" in process.stdout
    assert process.stdout.splitlines()[-1].startswith(f"report: {out}: report.json")
    assert server.left() == []
    assert not list(Path.home().glob("hacked")) and not list(tmp_path.rglob("hacked"))


def test_several_files_by_scp(board: Path, tiny_file: Path, tmp_path: Path) -> None:
    """Without rsync here; the Python there is found by the lmedge on its PATH."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "lmedge").write_text(f"#! {board}\n")
    (scripts / "lmedge").chmod(0o755)
    other = tmp_path / "sub" / tiny_file.name
    other.parent.mkdir()
    shutil.copy(tiny_file, other)
    out = tmp_path / "deep" / "out"
    with serve(tmp_path / "own", PATH=f"{scripts}:/usr/bin:/bin") as server:
        process = lmedge(
            "-q",
            "benchmark",
            tiny_file,
            other,
            *there(server, None),
            "--runs",
            10,
            "--out",
            out,
            PATH=tools(tmp_path / "tools", "ssh", "scp"),
        )
        assert server.left() == []
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    comparison = json.loads((out / "comparison.json").read_text())
    assert [entry["bytes"] for entry in comparison["entries"]] == [tiny_file.stat().st_size] * 2


def test_a_folder_that_shells_misread(board: Path, tiny_file: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a $b"
    odd.mkdir()
    with serve(tmp_path / "own", TMPDIR=str(odd)) as server:
        process = lmedge("-q", "benchmark", tiny_file, *there(server, board))
    assert_refused(process, 13, "set TMPDIR there")
    assert not list(odd.iterdir())


@pytest.mark.parametrize(
    ("known", "said"), [("no hosts", "is not known here"), ("changed hosts", "is not the one")]
)
def test_a_host_key_that_is_not_the_known_one(
    server: Server, board: Path, tiny_file: Path, tmp_path: Path, known: str, said: str
) -> None:
    process = lmedge(
        "-q", "benchmark", tiny_file, *there(server, board, known), "--out", tmp_path / "out"
    )
    assert_refused(process, 13, user(), said)
    assert "left there" not in process.stderr
    assert not (tmp_path / "out").exists()
    assert (server.folder / "no hosts").read_text() == "", "nothing is learned on the way"
    assert server.left() == []


def test_a_connection_that_is_cut_is_resumed(
    server: Server, board: Path, tiny_file: Path, tmp_path: Path
) -> None:
    """While it copies, by an rsync that loses its first connection, and while it measures."""
    out, path = tmp_path / "out", tools(tmp_path / "tools", "ssh", "touch")
    flaky = tmp_path / "tools" / "rsync"
    flaky.write_text(
        f"#!/bin/sh\n[ -e {tmp_path}/once ] || {{ touch {tmp_path}/once; exit 12; }}\n"
        f'exec {shutil.which("rsync")} "$@"\n'
    )
    flaky.chmod(0o755)
    running = begin(
        "benchmark", tiny_file, *there(server, board), "--runs", 3000, "--out", out, PATH=path
    )
    started(server)
    assert (tmp_path / "once").exists() and server.children()
    server.cut()
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    assert json.loads((out / "report.json").read_text())["latency"]["runs"] == 3000
    assert server.left() == []


def test_a_board_that_does_not_come_back(board: Path, tiny_file: Path, tmp_path: Path) -> None:
    with serve(tmp_path / "own") as server:
        running = begin(
            "benchmark", tiny_file, *there(server, board), "--give-up", 1, "--out", tmp_path / "out"
        )
        folder = started(server)
        server.stop()
        output, errors = running.communicate(timeout=60)
        os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
    found = subprocess.CompletedProcess([], running.returncode, output, errors)
    assert_refused(found, 13, "lost", "within 1 s", f"{folder} may be left there")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_board_is_cleared_when_it_is_interrupted(
    server: Server, board: Path, tiny_file: Path, tmp_path: Path, number: signal.Signals
) -> None:
    running = begin("benchmark", tiny_file, *there(server, board), "--out", tmp_path / "out")
    pid = int((started(server) / "pid").read_text())
    running.send_signal(number)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 128 + number, errors
    assert "Traceback" not in errors
    assert server.left() == []
    assert not alive(pid)


def test_what_the_board_refuses_has_its_exit_code(
    server: Server, board: Path, tiny_file: Path, photographs: Path, tmp_path: Path
) -> None:
    for image in photographs.rglob("*.jpg"):
        bad_images.text(image)
    process = lmedge(
        "-q",
        "benchmark",
        tiny_file,
        *there(server, board),
        "--data",
        photographs,
        "--runs",
        5,
        "--out",
        tmp_path / "out",
    )
    assert_refused(process, 3, user(), "could be read")
    assert server.left() == []


def test_no_python_there(server: Server, tiny_file: Path, tmp_path: Path) -> None:
    process = lmedge(
        "-q", "benchmark", tiny_file, *there(server, "/no such/python"), "--out", tmp_path / "out"
    )
    assert_refused(process, 13, "no Python 3.11", "--host-python")
    assert server.left() == []


def test_a_log_in_that_is_refused(server: Server, tiny_file: Path, tmp_path: Path) -> None:
    options = [word.replace("/key", "/other") for word in there(server, "python3")]
    process = lmedge("-q", "benchmark", tiny_file, *options, "--out", tmp_path / "out")
    assert_refused(process, 13, "refused the log-in")


def test_nothing_travels_when_it_cannot_work(tmp_path: Path, tiny_file: Path) -> None:
    """The machine named does not exist: it is not asked."""
    host = ["--host", "nobody@board.invalid"]
    broken = tmp_path / "broken.tflite"
    broken.write_text("this is not a model")
    assert_refused(lmedge("benchmark", broken, *host), 4, "broken.tflite")
    taken = tmp_path / "taken"
    taken.write_text("")
    assert_refused(lmedge("benchmark", tiny_file, *host, "--out", taken), 1, "is a file")
    assert_refused(lmedge("benchmark", tiny_file, *host, "--data", tmp_path / "none"), 3, "none")


def test_a_person_is_asked_once_and_nothing_secret_is_shown(
    server: Server, board: Path, tiny_file: Path, tmp_path: Path
) -> None:
    """At a terminal: the host key is confirmed and a passphrase typed, for all that follows."""
    locked, known = server.folder / "locked", server.folder / "asked hosts"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-f", locked], check=True
    )
    with (server.folder / "authorized_keys").open("a") as stream:
        stream.write((server.folder / "locked.pub").read_text())
    words = [word.replace("/key", "/locked") for word in there(server, board, known.name)]
    arguments = ["benchmark", tiny_file, *words, "--runs", 5, "--out", tmp_path / "out"]
    code, shown = at_a_terminal(
        [sys.executable, "-m", "lmedge", *map(str, arguments)],
        {"continue connecting (yes/no": "yes\n", "Enter passphrase": "open sesame\n"},
    )
    assert code == 0, shown
    assert shown.count("Enter passphrase") == shown.count("continue connecting") == 1
    assert "sesame" not in shown
    assert "ssh-ed25519" in known.read_text()
    assert server.left() == []


def at_a_terminal(command: list[str], answers: dict[str, str]) -> tuple[int, str]:
    """Run a command with a terminal of its own and type an answer when its question appears."""
    child, terminal = pty.fork()
    if not child:
        os.execvp(command[0], command)
    shown, waiting = "", dict(answers)
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        shown += data.decode("utf-8", "replace")
        for question in [one for one in waiting if one in shown]:
            os.write(terminal, waiting.pop(question).encode())
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown


@pytest.mark.slow
def test_packages_that_cannot_be_installed(tiny_file: Path, tmp_path: Path) -> None:
    """A board without network: the line says what to do."""
    empty = board_python(tmp_path / "empty", lmedge=False, packages=False)
    with serve(tmp_path / "own", PIP_NO_INDEX="1", PIP_CONFIG_FILE="/dev/null") as server:
        process = lmedge(
            "-q", "benchmark", tiny_file, *there(server, empty), "--out", tmp_path / "out"
        )
        assert_refused(process, 13, "lacks numpy", "pip install lmedge", "--host-python")
        assert server.left() == []


@pytest.mark.slow
def test_packages_are_installed_for_the_time_of_the_benchmark(
    server: Server, tiny_file: Path, tmp_path: Path
) -> None:
    """With the network: nothing is left, and pages are made here."""
    empty = board_python(tmp_path / "empty", lmedge=False, packages=False)
    out = tmp_path / "out"
    process = lmedge(
        "benchmark", tiny_file, *there(server, empty), "--runs", 10, "--out", out, seconds=500
    )
    assert process.returncode == 0, process.stderr
    assert (out / "report.html").exists() and (out / "plots").is_dir()
    assert server.left() == []
