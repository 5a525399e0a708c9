"""The state of the loop for a supervisor: fed by classified frames, and never in their way."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmedge.camera.frames import Absence, Frame
from lmedge.camera.service import PERIOD, SupervisedState, failure_in
from lmedge.camera.sinks import FrameResult
from lmedge.classifier import Classifier
from lmedge.deploy.health import read_health
from lmedge.errors import LmedgeError
from tests.in_process import lmedge
from tests.lmedge.camera.streams import bgr, mjpeg_server, write_video


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "notify"))
        link.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "8000000")
        yield link


def words(link: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(link.recv(1000).decode())
        except BlockingIOError:
            return found


@pytest.fixture(scope="module")
def result(tiny_file: Path) -> FrameResult:
    image = bgr("green")
    prediction = Classifier(tiny_file).classify(image, color="bgr")
    frame = Frame(image=image, index=0, seconds=0.0)
    return FrameResult(frame=frame, prediction=prediction, frames_per_second=None)


def test_classified_frames_feed_the_watchdog_and_absences_do_not(
    manager: socket.socket, result: FrameResult
) -> None:
    now = 100.0
    state = SupervisedState(None, Path("x.tflite"), clock=lambda: now)
    assert words(manager) == [], "nothing is ready before a frame was classified"
    state.take(result)
    said = words(manager)
    assert said[:2] == ["READY=1", "WATCHDOG=1"] and said[2].startswith("STATUS=")
    now += 1.0
    state.take(result)
    assert words(manager) == [], "four words within the time of the watchdog are enough"
    now += 1.5
    state.take(result)
    assert words(manager)[0] == "WATCHDOG=1"
    now += 60.0
    state.absent(Absence(message="camera 0: no frames for 60 s"))
    assert words(manager) == ["STATUS=camera 0: no frames for 60 s"]
    state.close()
    assert words(manager) == ["STATUS=camera 0: no frames for 60 s"], (
        "STOPPING=1 would end the service, in which the keeper may start another camera"
    )


def test_the_file_holds_what_a_watcher_needs(tmp_path: Path, result: FrameResult) -> None:
    now = 100.0
    path = tmp_path / "status.json"
    state = SupervisedState(path, Path("x.tflite"), clock=lambda: now)
    for _ in range(5):
        state.take(result)
        now += PERIOD
    logging.getLogger("lmedge").error("disk %s", "full")
    state.close()
    found = json.loads(path.read_text())
    assert (found["frames"], found["frames_per_second"], found["unknown"]) == (5, 0.5, 0)
    assert (found["landmark"], found["known"]) == ("green", True)
    assert (found["errors"], found["last_error"]) == (1, "disk full")
    health = read_health(path)
    assert health is not None and health.frames == 5 and health.busy
    assert health.shown_errors == "; an error: disk full"
    assert health.last - health.first == 4 * PERIOD
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_another_boot_or_process_is_none(tmp_path: Path, result: FrameResult) -> None:
    path = tmp_path / "status.json"
    state = SupervisedState(path, Path("x.tflite"))
    state.take(result)
    state.close()
    assert read_health(path) is not None and read_health(path, 1) is None
    path.write_text(path.read_text().replace('"boot": "', '"boot": "x'))
    assert read_health(path) is None


def test_a_disk_that_is_full_costs_the_news_only(tmp_path: Path, result: FrameResult) -> None:
    state = SupervisedState(tmp_path / "nowhere" / "status.json", Path("x.tflite"))
    assert state.take(result) and state.absent(Absence(message="away"))
    state.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    state = SupervisedState(tmp_path / "status.json", Path("x.tflite"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        state.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir()), "nothing half-written is left"


def test_the_command_keeps_the_file(tiny_file: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", [bgr("green")] * 6)
    status = tmp_path / "status.json"
    options = ("--headless", "--source", video, "--status", status)
    done = lmedge("-q", "camera", tiny_file, *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(status.read_text())
    assert found["frames"] == 6 and found["file"] == str(tiny_file)
    refused = lmedge("camera", tiny_file, "--headless", "--source", video, "--status", video)
    assert refused.returncode == 1 and "reads this file too" in refused.stderr


def test_a_camera_that_does_not_open_is_in_the_file(tiny_file: Path, tmp_path: Path) -> None:
    """A board that gives no frames tells why in `lmedge fleet status`."""
    status = tmp_path / "status.json"
    done = lmedge("camera", tiny_file, "--headless", "--source", 63, "--status", status)
    assert done.returncode == 7
    found = json.loads(status.read_text())
    assert found["errors"] == 1 and found["last_error"] in done.stderr
    assert found["last_error"].startswith("camera 63 does not open: ")
    health = read_health(status)
    assert health is not None and health.frames == 0 and not health.fresh(1e9)
    lost = SupervisedState(status, tiny_file)
    with pytest.raises(LmedgeError), failure_in(status, tiny_file):
        lost.close()
        raise LmedgeError("gone for 60 s")
    found = json.loads(status.read_text())
    assert (found["errors"], found["last_error"]) == (1, "gone for 60 s")
    with pytest.raises(LmedgeError), failure_in(tmp_path / "no" / "folder", tiny_file):
        raise LmedgeError("the error comes all the same")
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


class Supervisor:
    """A service manager: it starts the camera, and ends it if the watchdog is not fed in time."""

    def __init__(self, folder: Path, words: list[str], seconds: float) -> None:
        self._seconds, self._words = seconds, words
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._link.bind(str(folder / "notify"))
        self._environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": str(int(seconds * 1e6)),
        }
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "lmedge", "-q", "camera", *self._words]
        return subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL)

    def wait_for(self, word: str, seconds: float) -> bool:
        """Return True if the camera sends a word within so many seconds."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._link.settimeout(left)
            with contextlib.suppress(TimeoutError):
                if self._link.recv(1000).decode() == word:
                    return True
        return False

    def watch(self) -> int:
        """Watch it until it is not fed in time, start it again, and return how often it was fed."""
        fed = 0
        while self.wait_for("WATCHDOG=1", self._seconds):
            fed += 1
        self._end()
        self.process = self._start()
        return fed

    def _end(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self._end()
        self._link.close()


def test_a_camera_that_hangs_is_not_fed_and_started_again(tiny_file: Path, tmp_path: Path) -> None:
    """The stream keeps its connection and sends nothing: no error, and nothing to wait for."""
    with mjpeg_server() as stream:
        words = [str(tiny_file), "--headless", "--source", stream.url]
        with contextlib.closing(Supervisor(tmp_path, words, 1.2)) as manager:
            assert manager.wait_for("READY=1", 30.0)
            threading.Timer(1.0, stream.hang).start()
            begun = time.monotonic()
            assert manager.watch() >= 2
            assert 1.0 < time.monotonic() - begun < 5.0, "a second of frames, and one time-out"
            stream.hang(False)
            assert manager.wait_for("READY=1", 30.0) and manager.wait_for("WATCHDOG=1", 5.0)
