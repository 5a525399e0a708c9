"""A deployment on the board: nothing that runs is touched before every check has passed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmedge.deploy import install as module
from lmedge.deploy.failures import Failures, run_folder
from lmedge.deploy.install import Installer, roll_back
from lmedge.deploy.keeper import keeper_lives
from lmedge.deploy.lock import held_alone
from lmedge.deploy.service import Service, ServiceOptions, unit_text
from lmedge.deploy.state import Reason, Result, State
from lmedge.deploy.store import Store, read_object
from lmedge.errors import DeployError
from lmedge.machine import boot_seconds
from tests.in_process import lmedge
from tests.lmedge.camera import kernel
from tests.lmedge.camera.kernel import Kernel, Node
from tests.lmedge.deploy.boards import ENVIRONMENT, board, kept, put, release, until
from tests.lmedge.deploy.systemctl import FakeSystemd


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(module, "LOOK", 0.05)
    return board(tmp_path / "board")


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSystemd]:
    """A service manager of this user, whose units lie in a folder of the test."""
    fake = FakeSystemd(tmp_path / "systemd")
    for name, value in fake.environment.items():
        monkeypatch.setenv(name, value)
    yield fake
    fake.stop()


def service(store: Store) -> Service:
    return Service(store, ServiceOptions(memory_mb=300, cpu_percent=150), system=False)


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        ("golden", {}, Reason.GOLDEN),
        ("old", {}, Reason.RUNTIME),
        ("slow", {"budget_ms": 20.0}, Reason.SLOW),
        ("blind", {}, Reason.CAMERA),
        ("well", {"environment": "f" * 16}, Reason.ENVIRONMENT),
    ],
)
def test_a_release_that_fails_a_check_changes_nothing(
    store: Store, tmp_path: Path, kind: str, settings: dict[str, object], reason: Reason
) -> None:
    old = put(store, "well 1", tmp_path)
    made, path = release(kind, tmp_path, **settings)
    with pytest.raises(DeployError) as found:
        Installer(store, None, print).install(made, path)
    assert found.value.reason == reason
    state = store.state()
    assert store.current() == old.name and state.good == (old.name,) and state.trial is None
    assert state.last is not None and (state.last.result, state.last.reason) == (
        Result.REFUSED,
        reason,
    )
    assert store.present() == {old.name}, "the refused release takes no space"


def test_a_check_that_hangs_is_ended_and_a_slow_board_has_more_time(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmedge.deploy.checks._SECONDS", 0.05)
    run = store.environments / ENVIRONMENT / "run"
    run.write_text("#!/bin/sh\nexec sleep 0.5\n")
    slow, path = release("well", tmp_path, grace=0.1)
    with pytest.raises(DeployError, match=r"did not end within 0\.1 s"):
        Installer(store, None, print).install(slow, path)
    patient, path = release("well", tmp_path, grace=20.0)
    assert Installer(store, None, print).install(patient, path) is None


def test_other_bytes_than_were_sent_are_refused(store: Store, tmp_path: Path) -> None:
    made, path = release("well", tmp_path)
    path.write_text("well, cut")
    with pytest.raises(DeployError) as found:
        Installer(store, None, print).install(made, path)
    assert found.value.reason == Reason.HASH and store.current() is None


def test_a_release_goes_into_service_and_proves_itself(
    store: Store, systemd: FakeSystemd, tmp_path: Path
) -> None:
    steps: list[str] = []
    made, path = release("well", tmp_path, budget_ms=20.0)
    ended = Installer(store, service(store), steps.append).install(made, path)
    assert ended is not None and ended.result is Result.GOOD
    assert steps == [
        "checking the file",
        "running golden images",
        "measuring",
        "waiting for a frame",
        "switching",
        "watching",
    ]
    calls = [line.removeprefix("--user ") for line in systemd.calls()]
    changes = [line for line in calls if not line.startswith(("is-", "show"))]
    assert changes == [
        "daemon-reload",
        "enable lmedge.service",
        "reset-failed lmedge.service",
        "restart --no-block lmedge.service",
    ]
    bad, path = release("crash", tmp_path)
    ended = Installer(store, service(store), steps.append).install(bad, path)
    assert ended is not None and (ended.result, ended.reason) == (Result.BACK, Reason.CRASH)
    assert store.current() == made.name
    assert steps[-1] == "watching" and "waiting for a frame" not in steps[6:], (
        "the camera was taken by the release that runs, whose frames prove it"
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="V4L2 is a part of Linux")
def test_a_size_that_the_camera_lacks_is_refused_also_while_it_is_in_use(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linux = Kernel(monkeypatch)
    sizes: kernel.Sizes = {(640, 480): [(1, 30)]}
    path = str(linux.add(Node(tmp_path / "video0", formats={"MJPG": sizes})))
    monkeypatch.setattr("lmedge.camera.capture.names_camera", lambda text: text == path)
    put(store, "well 1", tmp_path, source=path)
    with kept(store):
        until((store.folder / "run" / "status.json").exists)
        for words, problem in (
            (("--size", "800x600"), "does not offer 800x600; pass one of 640x480"),
            (("--mirror", "--fps", "60"), "does not offer 60 frames a second; pass one of 30"),
            (("--format", "yuyv"), "does not offer format YUYV; pass one of MJPG"),
        ):
            made, file = release("well 2", tmp_path, source=path, capture=words)
            with pytest.raises(DeployError, match=problem) as found:
                Installer(store, None, print).install(made, file)
            assert found.value.reason == Reason.CAMERA
        words = ("--format", "mjpg", "--fps", "30", "--size", "640X480")
        made, file = release("well 2", tmp_path, source=path, capture=words)
        ended = Installer(store, None, print).install(made, file)
    assert ended is not None and ended.result is Result.GOOD


def test_a_second_deployment_leaves_the_copy_of_the_first(store: Store, tmp_path: Path) -> None:
    made, path = release("well", tmp_path)
    staged = store.releases / ".copy"
    with held_alone(store, 20.0):
        staged.mkdir()
        code = (
            "import sys, pathlib\n"
            "from lmedge.deploy.install import Installer\n"
            "from lmedge.deploy.release import release_of\n"
            "from lmedge.deploy.store import Store, read_object\n"
            "store, path = Store(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2])\n"
            "release = release_of(read_object(path.with_name('release.json')), path)\n"
            "Installer(store, None, print).install(release, path)\n"
        )
        words = [sys.executable, "-c", code, str(store.folder), str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert "another deployment is at work" in done.stderr and staged.is_dir()
    locks: list[float] = []

    def step(_: str) -> None:
        locks.append(read_object(store.folder / "lock.json")["deadline"] - boot_seconds())

    Installer(store, None, step, when_idle=5000.0).install(made, path)
    assert not staged.exists() and min(locks) > 5000, "it counts while it waits for idleness"


def test_a_service_that_does_not_start_is_gone_back_from(
    store: Store, systemd: FakeSystemd, tmp_path: Path
) -> None:
    old = put(store, "well 1", tmp_path)
    (systemd.folder / "broken").touch()
    made, path = release("well 2", tmp_path)
    ended = Installer(store, service(store), print).install(made, path)
    assert ended is not None and (ended.result, ended.reason) == (Result.BACK, Reason.SERVICE)
    assert "Failed to connect to bus" in ended.detail and store.current() == old.name


def test_a_service_that_never_starts_the_keeper_is_gone_back_from(
    store: Store, systemd: FakeSystemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Service, "restart", lambda self: None)
    old = put(store, "well 1", tmp_path)
    made, path = release("well 2", tmp_path, grace=0.2)
    ended = Installer(store, service(store), print).install(made, path)
    assert ended is not None and (ended.result, ended.reason) == (Result.BACK, Reason.DEADLINE)
    assert store.current() == old.name


def test_without_systemd_the_keeper_of_another_supervisor_is_watched(
    store: Store, tmp_path: Path
) -> None:
    made, path = release("well", tmp_path)
    assert Installer(store, None, print).install(made, path) is None, "nothing runs that could"
    assert store.state().trial is not None and store.current() == made.name
    with kept(store):
        until(lambda: store.state().good == (made.name,))
        assert keeper_lives(store)
        bad, path = release("crash", tmp_path)
        ended = Installer(store, None, print).install(bad, path)
        assert ended is not None and ended.result is Result.BACK


def test_a_busy_board_says_not_now(store: Store, tmp_path: Path) -> None:
    old = put(store, "busy", tmp_path)
    made, path = release("well", tmp_path)
    (store.folder / "busy").touch()
    for when_idle in (None, 0.2):
        with pytest.raises(DeployError) as found:
            Installer(store, None, print, when_idle=when_idle).install(made, path)
        assert found.value.reason == Reason.BUSY
    (store.folder / "busy").unlink()
    with kept(store):
        until((store.folder / "run" / "status.json").exists)
        with pytest.raises(DeployError, match="shows a landmark") as found:
            Installer(store, None, print, when_idle=0.2).install(made, path)
    assert found.value.reason == Reason.BUSY and store.current() == old.name


def test_idle_comes_and_the_deployment_goes_on(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE", 0.2)
    put(store, "well 1", tmp_path)
    made, path = release("well 2", tmp_path)
    (store.folder / "busy").touch()
    with kept(store):
        until(lambda: keeper_lives(store))
        threading.Timer(0.4, (store.folder / "busy").unlink).start()
        ended = Installer(store, None, print, when_idle=20.0).install(made, path)
    assert ended is not None and ended.result is Result.GOOD


def test_rollback_by_hand_goes_to_the_good_release_before(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="no other release"):
        roll_back(store, None)
    first, second = (put(store, f"well {number}", tmp_path) for number in (1, 2))
    failures = Failures(run_folder(store))
    failures.add(3)
    assert roll_back(store, None) == first.name == store.current()
    assert failures.count == 0, "it starts at once"
    state = store.state()
    assert state.good == (first.name, second.name)
    assert state.last is not None and state.last.reason is Reason.HAND
    assert roll_back(store, None) == second.name, "and forward again"


def test_rollback_by_hand_ends_a_trial(store: Store, tmp_path: Path) -> None:
    old = put(store, "well 1", tmp_path)
    made, path = release("well 2", tmp_path)
    Installer(store, None, print).install(made, path)
    assert roll_back(store, None) == old.name
    assert store.state().trial is None and store.state().good == (old.name,)


def test_the_unit_limits_the_service_and_runs_nothing_else() -> None:
    folder = Path("/var/lib/lmedge")
    text = unit_text(folder, ServiceOptions(memory_mb=300, cpu_percent=150), system=True)
    for line in (
        "Type=notify",
        "WatchdogSec=90",
        "Restart=always",
        "RuntimeDirectoryPreserve=restart",  # the count of failures
        "MemoryMax=300M",
        "CPUQuota=150%",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "User=lmedge",
        'ExecStart="/var/lib/lmedge/keeper/run" board keep "/var/lib/lmedge"',
        "WantedBy=multi-user.target",
    ):
        assert line in text.splitlines(), line
    own = unit_text(Path("/home/pi/x"), ServiceOptions(), system=False)
    assert "User=" not in own and "MemoryMax" not in own and "WantedBy=default.target" in own
    for odd in ("/a\nb", "/a%b", '/a"b', "/$a"):
        with pytest.raises(DeployError, match="name another"):
            unit_text(Path(odd), ServiceOptions(), system=False)
    with pytest.raises(DeployError, match="small letters"):
        ServiceOptions(name="../x")


def test_what_runs_all_the_time_is_small() -> None:
    """The keeper imports neither numpy nor OpenCV nor a runtime."""
    code = (
        "import sys, lmedge.cli, lmedge.deploy.board_command\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "cv2", "ai_edge_litert", "rich", "cryptography"} & set(done.stdout.split())


def test_the_commands_of_the_board(store: Store, systemd: FakeSystemd, tmp_path: Path) -> None:
    old = put(store, "well 1", tmp_path)
    made, path = release("well 2", tmp_path)
    done = lmedge("board", "install", store.folder, path.parent, "--without-systemd")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0] == {"step": "checking the file"}
    assert lines[-1] == {"waiting": f"{store.folder}/keeper/run board keep {store.folder}"}
    facts = json.loads(lmedge("board", "status", store.folder).stdout)
    assert facts["current"] == made.name and facts["state"]["trial"]["before"] == old.name
    assert facts["release"]["file"] == "landmarks.tflite" and facts["systemd"] is True
    bad, path = release("golden", tmp_path)
    refused = lmedge("board", "install", store.folder, path.parent, "--without-systemd")
    assert refused.returncode == 14 and "other answers" in refused.stderr
    assert bad.name not in store.present()
    nothing = lmedge("board", "keep", tmp_path / "nothing")
    assert nothing.returncode == 14 and "holds no releases" in nothing.stderr
    store.change(lambda state: State(good=(made.name, old.name)))
    assert lmedge("board", "rollback", store.folder).stdout == f"release {old.name[:12]}\n"
    assert lmedge("board", "remove", store.folder).stdout == "removed lmedge.service\n"
    assert "disable --now lmedge.service" in " ".join(systemd.calls())
