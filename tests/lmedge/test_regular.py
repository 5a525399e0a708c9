"""Pipes, sockets and devices where a file is expected: refused at once, never waited for."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmedge.files import cache_folder, write_bytes
from lmedge.regular import check_regular, read_regular, read_regular_text
from tests.locations import ROOT


@pytest.fixture
def special(tmp_path: Path) -> Iterator[list[Path]]:
    """A pipe, a socket, a device without end, a folder and a link to the pipe."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        yield [
            tmp_path / "pipe",
            tmp_path / "link",
            tmp_path / "socket",
            Path("/dev/zero"),
            tmp_path,
        ]


def test_one_module_decides() -> None:
    """An own check of a mode elsewhere would forget the pipe that takes a file's place."""
    rooms = [ROOT / name for name in ("lmedge", "train", "export", "benchmarks")]
    modules = [path for room in rooms for path in room.rglob("*.py")]
    found = [path.name for path in modules if "S_ISREG" in path.read_text("utf-8")]
    assert sorted(found) == ["regular.py", "streams.py"]  # which asks of its own output


class TestReading:
    def test_special_files(self, special: list[Path]) -> None:
        for path in special:
            for read in (check_regular, read_regular, read_regular_text):
                with pytest.raises(OSError, match="not a file"):
                    read(path)

    def test_files(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        path.write_bytes(b"four")
        (tmp_path / "b").symlink_to(path)
        assert read_regular(tmp_path / "b", 4) == b"four"
        with pytest.raises(OSError, match="larger than"):
            read_regular(path, 3)
        assert read_regular(path, 1 << 40) == b"four"  # more than there is memory
        assert read_regular("/proc/self/status").endswith(b"\n")  # a file of unknown size

    def test_no_command_waits(self, tmp_path: Path) -> None:
        """Every command that takes a file, with a pipe in its place and nobody who writes."""
        names = ("f.tflite", "f.json", "f.toml", "f.h5", "run/run.json", "split.csv")
        (tmp_path / "run").mkdir()
        for name in names:
            os.mkfifo(tmp_path / name)
        commands = (
            ("inspect", "f.tflite"),
            ("labels", "f.tflite"),
            ("predict", "f.tflite", "f.jpg"),
            ("camera", "f.tflite", "--headless"),
            ("benchmark", "f.tflite"),
            ("benchmark", "--compare", "f.json", "f.json"),
            ("export", "run", "--int8"),
            ("evaluate", "run"),
        )
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "lmedge", *words],
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for words in commands
        ]
        for process in running:
            _, errors = process.communicate(timeout=60)
            assert process.returncode not in (0, 2)
            assert len(errors.splitlines()) == 1, errors
            assert "not a file" in errors


class TestPermissions:
    def test_the_cache_is_private(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LMEDGE_CACHE", str(tmp_path / "home" / "cache"))
        before = os.umask(0)
        try:
            write_bytes(cache_folder() / "pictures" / "one", b"an image")
            write_bytes(tmp_path / "report", b"a report")
            assert os.umask(0) == 0  # nothing has touched it
        finally:
            os.umask(before)
        assert stat.S_IMODE(cache_folder().stat().st_mode) == 0o700
        assert stat.S_IMODE((cache_folder() / "pictures" / "one").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "report").stat().st_mode) == 0o666

    def test_nothing_sets_the_umask(self) -> None:
        """It belongs to the whole process, and other threads make files meanwhile."""
        for room in ("lmedge", "train", "export", "benchmarks"):
            for path in (ROOT / room).rglob("*.py"):
                assert "os.umask" not in path.read_text("utf-8"), path
