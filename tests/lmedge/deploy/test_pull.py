"""Frames come home while a camera adds others and drops the oldest."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lmedge.deploy.plan import plan_of
from lmedge.deploy.pull import Puller
from lmedge.errors import HostError
from lmedge.remote.link import Link
from lmedge.remote.ssh import Connection


class Board:
    """A connection to a folder of this machine; `meanwhile` happens before a copy."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile

    def run(self, script: str, most: int | None = None) -> str:
        done = subprocess.run(
            ["sh", "-s"], input=script, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise HostError(done.stderr)
        return done.stdout

    def fetch(
        self, there: str, folder: Path, suffixes: Sequence[str], *, inside: bool = True
    ) -> None:
        self._meanwhile()
        for path in Path(there).iterdir():
            if path.suffix in suffixes:
                shutil.copy(path, folder)


def puller(there: Path, meanwhile: Callable[[], None]) -> Puller:
    plan = plan_of("kiosk", {"host": "pi@kiosk", "collect": str(there)})
    board = Board(meanwhile)
    return Puller(plan, "/nowhere", board, rsync=True)  # type: ignore[arg-type]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(bytes([number]))
    return folder


def test_a_full_folder_drops_frames_while_it_is_copied(there: Path, tmp_path: Path) -> None:
    """Otherwise no copy of a board that collects for long would ever end well."""

    def dropped() -> None:
        (there / "0.jpg").unlink()
        (there / "9.jpg").write_bytes(b"new")

    home = tmp_path / "home"
    found = puller(there, dropped).pull(home, delete=True, step=print)
    assert (found.came, found.gone) == (3, 3)
    assert [path.name for path in there.iterdir()] == ["9.jpg"], "that one was not compared"


def test_a_frame_that_is_there_and_did_not_arrive_is_an_error(there: Path, tmp_path: Path) -> None:
    def changed() -> None:
        (there / "0.jpg").write_bytes(b"changed")

    with pytest.raises(HostError, match="1 of 4 files did not arrive"):
        puller(there, changed).pull(tmp_path / "home", delete=True, step=print)
    assert len(list(there.iterdir())) == 4, "nothing was deleted"


def test_a_frame_that_cannot_be_read_is_an_error(
    there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for root, who reads everything: the shell of the test says so."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "sh").write_text('#!/bin/sh\n[ "$1" = -c ] && echo "unreadable  $4"\nexit 0\n')
    (tools / "sh").chmod(0o755)
    connection = puller(there, lambda: None)
    run = connection._connection.run
    monkeypatch.setattr(
        connection._connection, "run", lambda script: run(f"PATH={tools}:$PATH\n{script}")
    )
    with pytest.raises(HostError, match="cannot be read by the user who logs in"):
        connection.pull(tmp_path / "home", delete=True, step=print)


def test_rsync_may_miss_files_that_have_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, called = tmp_path / "tools", tmp_path / "called"
    tools.mkdir()
    for name in ("ssh", "rsync"):
        (tools / name).write_text(f'#!/bin/sh\necho "{name} $@" >>{called}\nexit $CODE\n')
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    with Connection(Link(host="board")) as connection:
        monkeypatch.setenv("CODE", "24")
        connection.fetch("/there", tmp_path, [".jpg"])
        words = called.read_text().split()
        assert words.index("--exclude=.*") < words.index("--include=*.jpg"), (
            "a file that is being written has a hidden name"
        )
        monkeypatch.setenv("CODE", "23")
        with pytest.raises(HostError, match="copying failed"):
            connection.fetch("/there", tmp_path, [".jpg"])
        monkeypatch.setenv("CODE", "24")
        with pytest.raises(HostError, match="copying failed"):
            connection.send(tmp_path, "/there", rsync=True)
