"""The whole way on a board: keeper, camera, page, lesson, kill. A real process at every place."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import pytest

from lmedge.deploy.health import read_health
from lmedge.deploy.release import Release
from lmedge.deploy.state import State
from lmedge.deploy.store import Store
from tests.lmedge.camera import teaching
from tests.lmedge.camera.streams import Connection, scripted_server
from tests.lmedge.deploy.boards import ENVIRONMENT, SUPERVISED, until

TOKEN = "a-token-for-a-test"
PATIENCE = 180.0


def stream(connection: Connection) -> None:
    """Send frames of a landmark, each another view, until the viewer leaves."""
    connection.answer("multipart/x-mixed-replace; boundary=frame")
    number = 0
    while True:
        jpeg = cv2.imencode(".jpg", teaching.scene("white gate", 1000 + number))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        connection.write(head.encode() + jpeg + b"\r\n")
        number += 1
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def ask(port: int, act: dict[str, object] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/teach",
        data=None if act is None else json.dumps(act).encode(),
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return dict(json.loads(answer.read()))


def answered(port: int) -> bool:
    try:
        return bool(ask(port))
    except OSError:
        return False


def board(folder: Path, file: Path, url: str, port: int) -> Store:
    """Return a board whose only environment runs this lmedge."""
    store = Store(folder)
    store.prepare()
    run = store.environments / ENVIRONMENT / "run"
    run.parent.mkdir()
    run.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lmedge "$@"\n')
    run.chmod(0o755)
    release = Release(
        file="museum.tflite",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        environment=ENVIRONMENT,
        source=url,
        capture=("--source", url),
        arguments=("--preview", f"127.0.0.1:{port}", "--teach", "--teach-photographs", "lessons"),
        watch=2.0,
    )
    store.add(release, file, None)
    store.switch(release.name)
    store.link("keeper", f"environments/{ENVIRONMENT}")
    store.change(lambda _: State(good=(release.name,)))
    return store


@pytest.mark.slow
def test_a_board_is_taught_and_killed(tmp_path: Path) -> None:
    file, port = teaching.write_taught_file(tmp_path), free_port()
    with scripted_server(stream) as address:
        store = board(tmp_path / "board", file, f"http://{address}/s.mjpg", port)
        old, status = store.current(), store.folder / "run" / "status.json"
        environment = {**os.environ, "LMEDGE_TOKEN": TOKEN, "LMEDGE_CACHE": str(tmp_path / "cache")}
        keeper = subprocess.Popen(
            [sys.executable, "-c", SUPERVISED, store.folder], env=environment, cwd=store.folder
        )
        try:
            until(lambda: answered(port) and read_health(status), PATIENCE)
            before = read_health(status)
            ask(port, {"do": "burst"})
            until(lambda: ask(port)["phase"] == "asking", PATIENCE)
            names = {"landmark": "white gate", "category": "gates", "keep": True}
            ask(port, {"do": "teach", **names})
            until(lambda: ask(port)["phase"] == "ready", PATIENCE)
            new = store.current()
            assert new != old and ask(port)["undo"], ask(port)
            until(lambda: store.state().good == (new, old), PATIENCE)
            health = read_health(status)
            assert before is not None and health is not None and health.pid == before.pid
            assert Path(health.file).parent.name == new
            lessons = store.folder / "lessons" / "gates" / "white gate"
            assert list(lessons.glob("*.jpg"))

            os.kill(health.pid, signal.SIGKILL)  # the new file is the one that starts again
            until(lambda: (read_health(status) or health).pid != health.pid, PATIENCE)
            until(lambda: answered(port) and json.loads(status.read_text())["known"], PATIENCE)
            assert json.loads(status.read_text())["landmark"] == "white gate"
            assert store.current() == new
            ask(port, {"do": "undo"})
            until(lambda: ask(port)["phase"] == "ready", PATIENCE)
            assert store.current() == old and not list(lessons.parent.parent.rglob("*.jpg"))
        finally:
            keeper.terminate()
            keeper.wait(30)
