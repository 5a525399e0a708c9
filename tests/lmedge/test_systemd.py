"""Words to systemd and its journal, taken by real sockets."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmedge import systemd
from lmedge.systemd import JournalHandler, journal_datagram, notify, use_journal


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "socket"))
        link.settimeout(5)
        yield link


def test_words_go_to_the_socket_and_nowhere_without_it(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    for address in ("relative", "/nowhere/at/all"):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", listener.getsockname())
    assert notify("READY=1\nSTATUS=Köln")
    assert listener.recv(100).decode() == "READY=1\nSTATUS=Köln"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unnamed:
        unnamed.bind("\0lmedge-test-%d" % os.getpid())  # noqa: UP031  (not an f-string's zero)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@lmedge-test-{os.getpid()}")
        assert notify("WATCHDOG=1") and unnamed.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("text", "seconds"), [("30000000", 30.0), ("0", None), ("", None), ("x", None), ("-1", None)]
)
def test_the_watchdog_has_its_time_in_microseconds(
    text: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", text)
    assert systemd.watchdog_seconds() == seconds


def test_records_reach_the_journal_with_their_fields(listener: socket.socket) -> None:
    handler = JournalHandler(listener.getsockname())
    record = logging.LogRecord("lmedge.x", logging.WARNING, "", 0, "%s is\x1b away", ("cam",), None)
    record.fields = {"RELEASE": "abc"}
    handler.emit(record)
    lines = listener.recv(1000).decode().splitlines()
    assert "MESSAGE=cam is\ufffd away" in lines and "PRIORITY=4" in lines
    assert {f"LMEDGE_{field}" for field in ("RELEASE=abc", "MODULE=lmedge.x")} <= set(lines)


def test_a_value_of_several_lines_is_sent_by_its_length() -> None:
    assert journal_datagram({"A": "x\ny"}) == b"A\n\x03\0\0\0\0\0\0\0x\ny\n"


def test_without_a_journal_records_stay_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    before = list(logging.getLogger().handlers)
    assert not use_journal() and logging.getLogger().handlers == before
    record = logging.LogRecord("lmedge", logging.ERROR, "", 0, "lost", (), None)
    JournalHandler("/nowhere").emit(record)
    assert capsys.readouterr().err == "lost\n"
