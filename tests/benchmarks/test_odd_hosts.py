"""What a remote host prints and sends back: bounded, checked, and one line if it is odd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lmedge.benchmarks.remote import _place
from lmedge.errors import HostError
from lmedge.remote.host import RemoteHost
from lmedge.remote.ssh import Connection, Link

PYTHON = {"path": "/usr/bin/python3", "version": [3, 11], "missing": [], "lmedge": None}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteHost:
    """A host behind an ssh that prints the file `answer`."""
    ssh = tmp_path / "ssh"
    ssh.write_text(
        f'#!/bin/sh\nread mark\necho "$mark" | sed "s/^echo //"\ncat >/dev/null\n'
        f"cat {tmp_path / 'answer'}\n"
    )
    ssh.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return RemoteHost(Connection(Link(host="board", patience=0.0)))


def answer(tmp_path: Path, data: bytes | str) -> None:
    (tmp_path / "answer").write_bytes(data if isinstance(data, bytes) else data.encode())


class TestWords:
    @pytest.mark.parametrize("text", ["", "\n", "a\n", "/etc\nrsync\n", "\x1b[2J\n\x9b\n", "ÿ" * 9])
    def test_the_first_script(self, host: RemoteHost, tmp_path: Path, text: str) -> None:
        answer(tmp_path, text)
        with pytest.raises(HostError, match="first script") as caught:
            host.prepare(None)
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize(
        "found",
        [
            "no json",
            "[" * 100_000,
            json.dumps(None),
            json.dumps({**PYTHON, "version": ["3", "11"]}),
            json.dumps({**PYTHON, "version": [True, 3]}),
            json.dumps({**PYTHON, "path": 5}),
            json.dumps({**PYTHON, "path": "a\nb"}),
            json.dumps({**PYTHON, "missing": ["\x1b[2J"]}),
            json.dumps({**PYTHON, "lmedge": ["0.1"]}),
        ],
    )
    def test_its_pythons(self, host: RemoteHost, tmp_path: Path, found: str) -> None:
        answer(tmp_path, f"/var/tmp/{host._name}\nscp\n{found}\n")
        with pytest.raises(HostError, match="probe of Python") as caught:
            host.prepare(None)
        assert len(str(caught.value)) < 500

    def test_a_good_one(self, host: RemoteHost, tmp_path: Path) -> None:
        answer(tmp_path, f"/var/tmp/{host._name}\nscp\n{json.dumps(PYTHON)}\n")
        assert host.prepare(None).path == "/usr/bin/python3"

    @pytest.mark.parametrize("state", ["", "²", "٣", "-1", "1\n2", "12345678"])
    def test_the_end(self, host: RemoteHost, tmp_path: Path, state: str) -> None:
        answer(tmp_path, state)
        with pytest.raises(HostError, match="was ended there"):
            host.wait()

    def test_words_without_end(
        self, host: RemoteHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lmedge.remote.ssh._MOST_OUTPUT", 1 << 16)
        (tmp_path / "answer").symlink_to("/dev/zero")
        with pytest.raises(HostError, match="sent more than"):
            host.prepare(None)

    def test_a_host_that_never_ends(
        self, host: RemoteHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lmedge.remote.host._LONGEST", 0.0)
        answer(tmp_path, "running")
        with pytest.raises(HostError, match="has not ended within"):
            host.wait()


class TestFiles:
    @pytest.mark.parametrize(
        "name",
        [".bashrc", "report.sh", "../x", "plots/a.html", "plots/../../x.png", "a/report.json"],
    )
    def test_other_names(self, tmp_path: Path, name: str) -> None:
        self._refuse(tmp_path, {name: b"{}"})

    @pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"schema": NaN}', b"[" * 99_999])
    def test_no_report(self, tmp_path: Path, text: bytes) -> None:
        self._refuse(tmp_path, {"report.json": text})

    def test_links_and_sizes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "report").mkdir()
        (tmp_path / "report" / "samples.csv").symlink_to("/etc/passwd")
        with pytest.raises(HostError):
            _place(tmp_path / "report", tmp_path / "out")
        monkeypatch.setattr("lmedge.benchmarks.remote._MOST_BYTES", 9)
        self._refuse(tmp_path / "b", {"samples.csv": b"1234567890"})

    def test_a_report(self, tmp_path: Path) -> None:
        files: dict[str, Any] = {"report.json": b'{"schema": 2}', "plots/latency.png": b"x"}
        self._write(tmp_path, files)
        _place(tmp_path / "report", tmp_path / "out")
        assert (tmp_path / "out" / "plots" / "latency.png").read_bytes() == b"x"

    def _write(self, folder: Path, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            path = folder / "report" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def _refuse(self, folder: Path, files: dict[str, bytes]) -> None:
        self._write(folder, files)
        if any(name.startswith("../") or "/../" in name for name in files):
            (folder / "report").mkdir(exist_ok=True)
            (folder / "report" / "x.sh").touch()
        with pytest.raises(HostError, match="report"):
            _place(folder / "report", folder / "out")
        assert not (folder / "out").exists()
