"""`lmedge deploy` against a real sshd: one board with a real camera stream and a fake systemctl."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmedge.deploy.compare import check_board, check_room, check_source, source_doubts
from lmedge.deploy.facts import facts_of
from lmedge.deploy.health import read_health
from lmedge.deploy.look import board_facts
from lmedge.deploy.plan import plan_of
from lmedge.deploy.state import Reason, Result
from lmedge.deploy.store import Store
from lmedge.errors import DeployError
from lmedge.machine import boot_seconds
from tests.in_process import lmedge as here
from tests.lmedge.app.serving import write_file
from tests.lmedge.camera.streams import MjpegServer, mjpeg_server
from tests.lmedge.deploy.boards import until
from tests.lmedge.deploy.systemctl import FakeSystemd
from tests.processes import assert_refused, lmedge
from tests.sshd import SSHD, Server, board_python, serve, user

pytestmark = pytest.mark.skipif(
    not Path(SSHD).exists() or not all(map(shutil.which, ("ssh", "rsync", "ssh-keygen"))),
    reason="no sshd or rsync here: sudo apt install openssh-server rsync",
)


class Board:
    """A board behind sshd: its folder, its service manager, and the words that reach it."""

    def __init__(self, folder: Path, server: Server, systemd: FakeSystemd, url: str) -> None:
        self.store = Store(folder)
        self.server, self.systemd, self.url = server, systemd, url
        self.python: Path | None = None

    def words(self, *more: object) -> list[str]:
        settings = {"source": self.url, "folder": self.store.folder, "stall": 5}
        sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        own = ["--host", user(), "--host-python", str(self.python), *self.server.options()]
        return [*own, *sets, "--watch", "1", *map(str, more)]

    def restart(self) -> None:
        """Restart the service, as a start of the board does."""
        environment = {**os.environ, **self.systemd.environment}
        subprocess.run(["systemctl", "restart", "lmedge.service"], env=environment, check=True)
        (self.store.folder / "run" / "status.json").unlink(missing_ok=True)

    def log(self) -> str:
        """Return what the service has printed since its last restart."""
        return (self.systemd.folder / "lmedge.service.log").read_text()

    def running(self) -> str | None:
        """Return the release whose camera gives frames now."""
        health = read_health(self.store.folder / "run" / "status.json")
        return self.store.current() if health and health.fresh(boot_seconds()) else None


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real file of four colours, with golden answers."""
    return write_file(tmp_path_factory.mktemp("file") / "landmarks.tflite")


@pytest.fixture(scope="module")
def stream() -> Iterator[MjpegServer]:
    with mjpeg_server() as server:
        yield server


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory, stream: MjpegServer) -> Iterator[Board]:
    folder = tmp_path_factory.mktemp("deploy")
    systemd = FakeSystemd(folder / "systemd")
    with serve(folder / "sshd", **systemd.environment) as server:
        made = Board(folder / "board", server, systemd, stream.url)
        signatures = ("cryptography", "cffi", "pycparser")
        made.python = board_python(folder / "python", lmedge=False, also=signatures)
        try:
            yield made
        finally:
            systemd.stop()


def whole(board: Board) -> dict[str, int]:
    """Return the files that last and their times, to see that nothing changed."""
    names = ("releases", "environments", "state.json", "current", "keeper", "log.jsonl")
    paths = [path for name in names for path in (board.store.folder / name).rglob("*")]
    paths += [board.store.folder / name for name in names]
    return {str(path): path.lstat().st_mtime_ns for path in paths if path.exists()}


def test_a_file_goes_into_service_and_a_second_time_changes_nothing(
    board: Board, tiny_file: Path, tmp_path: Path
) -> None:
    planned = here("-q", "deploy", tiny_file, *board.words("--check"))
    assert planned.returncode == 0, planned.stderr
    assert "would deploy" in planned.stdout and not board.store.folder.exists()
    done = lmedge("deploy", tiny_file, *board.words("--budget-ms", 1000))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{user()}  deployed  "), done.stdout
    for step in ("looking", "sending", "running golden images", "measuring", "watching"):
        assert f"{user()}: {step}" in done.stderr.splitlines(), done.stderr
    state = board.store.state()
    assert state.last is not None and state.last.result is Result.GOOD
    assert board.running() == state.good[0]
    assert board.server.left() == []
    before, calls = whole(board), len(board.systemd.calls())
    again = here("-q", "deploy", tiny_file, *board.words("--budget-ms", 1000))
    assert again.returncode == 0 and "unchanged" in again.stdout, again.stderr
    assert whole(board) == before
    asked = board.systemd.calls()[calls:]
    assert all(line.split()[0] in {"show", "is-active"} for line in asked), asked


def test_a_file_that_is_too_slow_is_refused_there(board: Board, tiny_file: Path) -> None:
    before = board.store.current()
    done = lmedge("-q", "deploy", tiny_file, *board.words("--budget-ms", 0.001))
    assert done.returncode == 14
    assert "refused" in done.stdout and f"{Reason.SLOW}: " in done.stdout
    assert board.store.current() == before and board.running() == before


def test_a_stream_that_is_away_is_no_camera(board: Board, tiny_file: Path) -> None:
    before = board.store.current()
    other = [word.replace(board.url, f"{board.url[:-5]}x") for word in board.words()]
    other = [
        word.replace("127.0.0.1:", "127.0.0.1:1") if "source=" in word else word for word in other
    ]
    done = lmedge("-q", "deploy", tiny_file, *other)
    assert done.returncode == 14 and f"{Reason.CAMERA}: " in done.stdout, done.stdout
    assert board.running() == before


STEPS = ("looking", "sending", "checking the file", "switching", "watching")


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["cut", "killed here"])
def test_a_connection_may_end_at_every_step(
    board: Board, tiny_file: Path, tmp_path: Path, step: str, how: str
) -> None:
    """Either the board runs what it ran, or it finishes alone; it never runs nothing."""
    before = board.running()
    smoothing = f"{0.1 + STEPS.index(step) / 100 + (how == 'cut') / 10:.2f}"
    words = board.words("--set", f"smoothing={smoothing}", "--give-up", 20)
    command = [sys.executable, "-m", "lmedge", "deploy", str(tiny_file), *words]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stderr is not None
    for line in running.stderr:
        if line.strip().endswith(step):
            break
    if how == "cut":
        board.server.cut()
    else:
        running.send_signal(signal.SIGKILL)
    running.communicate(timeout=120)
    until(lambda: board.store.state().trial is None, 60)
    until(lambda: board.running() is not None, 30)
    name = board.store.current()
    assert name is not None and name in board.store.state().good
    if how == "cut":
        assert running.returncode == 0, "it reconnected and saw the end"
        assert name != before
    elif step in {"looking", "sending"}:
        assert name == before


@pytest.mark.slow
def test_an_interrupted_deployment_leaves_the_old_release(board: Board, tiny_file: Path) -> None:
    before = board.running()
    words = board.words("--set", "smoothing=0.77")
    command = [sys.executable, "-m", "lmedge", "deploy", str(tiny_file), *words]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stderr is not None
    for line in running.stderr:
        if line.strip().endswith("running golden images"):
            break
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 130
    time.sleep(2)
    assert board.running() == before and board.store.state().trial is None


def test_a_board_that_is_not_reached_has_a_line_and_code_13(tiny_file: Path) -> None:
    done = lmedge("-q", "deploy", tiny_file, "--host", "nobody@127.0.0.1", "--ssh-option", "Port=9")
    assert done.returncode == 13 and "not reached" in done.stdout
    assert len(done.stderr.splitlines()) == 1


def test_an_odd_machine_is_told_at_once(board: Board, tiny_file: Path) -> None:
    """armv7l has no LiteRT; nothing is sent to it."""
    found = {**board_facts(str(board.store.folder)), "machine": "armv7l", "bits": 32}
    facts = facts_of(found)
    with pytest.raises(DeployError, match="armv7l, 32 bits: LiteRT has no package") as error:
        check_board(facts, own=False)
    assert error.value.reason == Reason.MACHINE
    check_board(facts, own=True)
    for key, odd in (("folder", "x\n"), ("uptime", "1"), ("cameras", "video0"), ("root", 1)):
        with pytest.raises(ValueError, match=key):
            facts_of({**found, key: odd})


def test_a_full_disk_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    found = {**board_facts(str(tmp_path)), "free_mb": 40}
    check_room(facts_of(found), 5 << 20, own=True, environment=False)
    for size, own, fresh, needed in (
        (9, True, False, 42),
        (5, True, True, 102),
        (5, False, True, 638),
    ):
        with pytest.raises(DeployError, match=f"40 MB are free .* {needed}; remove") as error:
            check_room(facts_of(found), size << 20, own=own, environment=fresh)
        assert error.value.reason == Reason.SPACE


def test_a_camera_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    """A Raspberry Pi's camera is no webcam, and needs a package of the system."""
    found = {**board_facts(str(tmp_path)), "cameras": ["video0"], "picamera2": False}
    webcam, other, pi, stream = (
        plan_of("b", {"host": "b", "source": source})
        for source in ("0", "/dev/video2", "picamera2", "http://camera/stream")
    )
    facts = facts_of(found)
    assert source_doubts(webcam, facts) == source_doubts(stream, facts) == ()
    assert source_doubts(other, facts) == ("there is no /dev/video2",)
    with pytest.raises(DeployError, match="python3-picamera2") as error:
        check_source(pi, facts)
    assert error.value.reason == Reason.CAMERA
    board_of_pi = facts_of({**found, "picamera2": True})
    check_source(pi, board_of_pi)
    assert "source=picamera2" in source_doubts(webcam, board_of_pi)[0]


def test_mistakes_of_the_command_line(tiny_file: Path, tmp_path: Path) -> None:
    def refused(*words: object) -> str:
        done = here("deploy", tiny_file, *words)
        assert done.returncode == 2, done.stderr
        return done.stderr

    assert "pass --host" in refused()
    assert "source" in refused("--host", "a", "--set", "sorce=0")
    assert "is not a size" in refused("--host", "a", "--set", "size=big")
    assert "KEY=VALUE" in refused("--host", "a", "--set", "mirror")
    assert "named twice" in refused("--host", "a", "--host", "a")
    assert "BOARD" in refused("--host", "-oProxyCommand=x")
    assert "always checked" in refused("--host", "a", "--ssh-option", "StrictHostKeyChecking=no")
    assert "into the file" in refused("--fleet", "x.toml", "--set", "source=1")
    none = here("deploy", tmp_path / "none.tflite", "--host", "a")
    assert_refused(none, 4, "none.tflite")


def test_a_board_that_has_learned_a_key_runs_signed_files_alone(
    board: Board, tiny_file: Path, tmp_path: Path
) -> None:
    def signed_by(name: str) -> Path:
        """Return a copy of the file that a key signed."""
        copy = tmp_path / f"by {name}" / tiny_file.name
        copy.parent.mkdir()
        shutil.copy(tiny_file, copy)
        assert here("sign", "--new-key", tmp_path / name, "--no-password").returncode == 0
        assert here("sign", copy, "--key", tmp_path / f"{name}.key").returncode == 0
        return copy

    file, stolen, public = signed_by("museum"), signed_by("thief"), tmp_path / "museum.pub"
    refused = here("-q", "deploy", stolen, *board.words("--key", public))
    assert refused.returncode == 14 and "signed by the key" in refused.stderr
    assert here("-q", "deploy", tiny_file, *board.words("--set", "smoothing=0.31")).returncode == 0
    learns = board.words("--key", public, "--set", "smoothing=0.31")  # the same release, signed
    done = here("-q", "deploy", file, *learns)
    assert done.returncode == 0 and board.store.learned() == public.read_text(), done.stdout
    assert "unchanged" in here("-q", "deploy", file, *learns).stdout
    for other, reason in ((tiny_file, "sign the file"), (stolen, "signed by the key")):
        done = here("-q", "deploy", other, *board.words("--set", "smoothing=0.32"))
        assert done.returncode == 14 and f"refused  signature: {other}" in done.stdout
        assert reason in done.stdout
    signature = board.store.folder / "current" / f"{file.name}.minisig"
    before, name = signature.read_text(), board.store.current()
    signature.write_text(stolen.with_name(signature.name).read_text())
    board.restart()
    until(lambda: "signed by the key" in board.log() and not board.store.state().good, 30)
    last = board.store.state().last
    assert last is not None and last.reason == Reason.SIGNATURE and board.running() is None
    signature.write_text(before)
    board.restart()
    until(lambda: board.running() == name, 30)
    board.store.trusted.unlink()


def fleet_file(board: Board, tmp_path: Path) -> Path:
    """Return a fleet of this board and of one that does not answer."""
    options = board.server.options()
    words = [word for word in options if word != "--ssh-option"]
    path = tmp_path / "fleet.toml"
    path.write_text(
        f"[defaults]\nfolder = {json.dumps(str(board.store.folder))}\ncollect = 'field'\n"
        f"[board.kiosk]\nhost = {json.dumps(user())}\nssh-options = {json.dumps(words)}\n"
        "[board.attic]\nhost = 'nobody@127.0.0.1'\nssh-options = ['Port=9']\n"
    )
    return path


def test_the_fleet_is_asked_how_it_is(board: Board, tmp_path: Path) -> None:
    path = fleet_file(board, tmp_path)

    def is_fast() -> bool:
        """Return true once the rate is of some frames: the test before starts the camera anew."""
        asked = here("-q", "fleet", "status", path, "kiosk", "--json")
        return bool(json.loads(asked.stdout)["frames_per_second"] > 1)

    until(is_fast, 30)
    done = here("-q", "fleet", "status", path, "--json")
    assert done.returncode == 14 and "1 of 2 boards are not well: attic" in done.stderr
    kiosk, attic = map(json.loads, done.stdout.splitlines())
    assert kiosk["state"] == "well" and kiosk["release"] == board.store.current()
    assert kiosk["file"] == "landmarks.tflite" and kiosk["frames_per_second"] > 1
    assert kiosk["unknown_share"] is not None and kiosk["free_mb"] > 0 and kiosk["uptime"] > 0
    assert attic["reached"] is False and "refused" in attic["detail"]
    table = here("-q", "fleet", "status", path, "kiosk")
    assert table.returncode == 0, table.stderr
    heading, line = table.stdout.splitlines()
    assert heading.split()[:4] == ["board", "state", "release", "up"]
    assert line.split()[:3] == ["kiosk", "well", str(board.store.current())[:12]]
    found = here("-q", "fleet", "logs", path, "kiosk")
    assert found.returncode == 0 and '"result": "good"' in found.stdout
    assert all(line.startswith("kiosk: ") for line in found.stdout.splitlines())
    assert board.server.left() == []


def test_collected_frames_come_home_and_go_there_only_after_a_comparison(
    board: Board, tmp_path: Path
) -> None:
    path, there = fleet_file(board, tmp_path), board.store.folder / "field"
    there.mkdir()
    contents = {f"{number:06d}.jpg": bytes([number]) * 5000 for number in range(4)}
    for name, data in contents.items():
        (there / name).write_bytes(data)
        (there / name).with_suffix(".json").write_text("{}")
    (there / "notes.txt").write_text("stays")
    (there / "link.jpg").symlink_to("/etc/passwd")
    home = tmp_path / "home"
    done = here("-q", "fleet", "pull", path, "kiosk", "-o", home)
    assert done.returncode == 0 and done.stdout == "kiosk: 8 new files\n", done.stderr
    assert {one.name: one.read_bytes() for one in (home / "kiosk").glob("*.jpg")} == contents
    (home / "kiosk" / "000001.jpg").write_bytes(b"cut")
    (there / "000009.jpg").write_bytes(b"new")
    done = here("-q", "fleet", "pull", path, "kiosk", "-o", home, "--delete")
    assert done.stdout == "kiosk: 2 new files, 9 deleted there\n", done.stderr
    assert (home / "kiosk" / "000001.jpg").read_bytes() == contents["000001.jpg"]
    assert sorted(one.name for one in there.iterdir()) == ["link.jpg", "notes.txt"]
    none = here("-q", "fleet", "pull", path, "kiosk", "-o", home)
    assert none.stdout == "kiosk: 0 new files\n" and len(list((home / "kiosk").iterdir())) == 9
    shutil.rmtree(there)


def test_what_a_board_was_taught_comes_home(board: Board, tiny_file: Path, tmp_path: Path) -> None:
    """The photographs with their origin, and the file, which runs here; nothing before it."""
    path = fleet_file(board, tmp_path)
    keys = "teach = true\npreview = '8000'\nteach-photographs = 'lessons'\n"
    path.write_text(path.read_text().replace("collect = 'field'\n", keys))
    lessons, taught = board.store.folder / "lessons", board.store.folder / "taught"
    names = ["bridges/Große Brücke/a.jpg", "towers & more/o'tower\\s/b.jpg"]
    for name in names:
        (lessons / name).parent.mkdir(parents=True)
        (lessons / name).write_bytes(name.encode() * 300)
    (lessons / "origin.csv").write_text("path\n")
    (taught / "museum.before").mkdir(parents=True)
    (taught / "museum.before" / "0001-0123456789abcdef.tflite").write_bytes(b"before")
    shutil.copy(tiny_file, taught / "museum.tflite")
    home = tmp_path / "home" / "kiosk"
    done = here("-q", "fleet", "pull", path, "kiosk", "-o", home.parent)
    file = home / "taught" / "museum.tflite"
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"kiosk: 4 new files\nkiosk: taught: {file}\n"
    assert file.read_bytes() == tiny_file.read_bytes()
    found = {one.relative_to(home).as_posix() for one in home.rglob("*") if one.is_file()}
    photographs = [f"photographs/{name}" for name in [*names, "origin.csv"]]
    assert found == {"taught/museum.tflite", *photographs}
    done = here("-q", "fleet", "pull", path, "kiosk", "-o", home.parent, "--delete")
    assert done.stdout.startswith("kiosk: 0 new files, 2 deleted there\n"), done.stderr
    assert [one.name for one in lessons.rglob("*") if one.is_file()] == ["origin.csv"]
    (taught / "museum.tflite").write_bytes(b"no file of ours")
    done = here("-q", "fleet", "pull", path, "kiosk", "-o", home.parent)
    assert done.returncode == 14 and "museum.tflite" in done.stdout
    shutil.rmtree(lessons)
    shutil.rmtree(taught)


def test_boards_are_led_back_by_name_only(board: Board, tmp_path: Path) -> None:
    path = fleet_file(board, tmp_path)
    unnamed = here("fleet", "rollback", path)
    assert unnamed.returncode == 2 and "name the boards" in unnamed.stderr
    good = board.store.state().good
    done = here("-q", "fleet", "rollback", path, "kiosk")
    if len(good) > 1:
        assert done.returncode == 0 and board.store.current() == good[1]
    else:
        assert done.returncode == 14 and "no other release was ever good" in done.stdout
    gone = here("-q", "fleet", "remove", path, "kiosk")
    assert gone.returncode == 0 and gone.stdout == "kiosk: removed lmedge.service\n", gone.stderr
    assert board.systemd.calls()[-1].endswith("daemon-reload")
    assert board.store.current() is not None and not list(board.systemd.folder.glob("*.pid"))
    purged = here("-q", "fleet", "remove", path, "kiosk", "--purge")
    assert purged.returncode == 0 and not board.store.folder.exists(), purged.stderr
