"""Words to systemd and its journal: one datagram each, and nothing without them.

sd_notify(3) describes the first protocol, systemd.journal-fields(7) and the page on the native
journal protocol the second.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

from .harmless import HarmlessFormatter

JOURNAL = "/run/systemd/journal/socket"
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def notify(text: str) -> bool:
    """Send lines such as READY=1 to the service manager; return False if there is none."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return False
    if address[0] == "@":  # a name without a file, which Linux has
        address = f"\0{address[1:]}"
    return _send(address, text.encode("utf-8", "replace"))


def under_systemd() -> bool:
    """Return True if a service manager listens to `notify`."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def watchdog_seconds() -> float | None:
    """Return the seconds within which systemd waits for WATCHDOG=1, None if it does not wait."""
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() and int(text) else None


def use_journal(path: str = JOURNAL) -> bool:
    """Let `logging` write records with fields, if standard error is connected to the journal.

    `extra={"fields": {"RELEASE": ...}}` of a call adds the field LMEDGE_RELEASE to its record.
    """
    if not _is_journal():
        return False
    root = logging.getLogger()
    root.handlers = [JournalHandler(path)]
    return True


class JournalHandler(logging.Handler):
    """A handler that sends records to the journal, each with its priority, module and fields."""

    def __init__(self, path: str = JOURNAL) -> None:
        """Take the path of the journal's socket."""
        super().__init__()
        self._path = path
        self.setFormatter(HarmlessFormatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; if the journal takes none, write a line to standard error."""
        message = self.format(record)
        fields = {
            "MESSAGE": message,
            "PRIORITY": str(next((n for level, n in _PRIORITIES if record.levelno >= level), 7)),
            "SYSLOG_IDENTIFIER": "lmedge",
        }
        own = {"MODULE": record.name, **getattr(record, "fields", {})}
        fields |= {f"LMEDGE_{key}": value for key, value in own.items()}
        if not _send(self._path, journal_datagram(fields)):
            sys.stderr.write(f"{message}\n")


def journal_datagram(fields: Mapping[str, object]) -> bytes:
    """Return the bytes of one record: KEY=VALUE lines, and values of several lines by length."""
    parts = []
    for key, value in fields.items():
        data = str(value).encode("utf-8", "replace")
        if b"\n" in data:
            parts.append(key.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        else:
            parts.append(key.encode() + b"=" + data + b"\n")
    return b"".join(parts)


def _is_journal() -> bool:
    """Return True if $JOURNAL_STREAM names the device and inode of standard error."""
    named = os.environ.get("JOURNAL_STREAM", "")
    with contextlib.suppress(OSError):
        about = os.fstat(2)
        return named == f"{about.st_dev}:{about.st_ino}" and Path(JOURNAL).exists()
    return False


def _send(address: str, data: bytes) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | _CLOSE) as link:
            link.settimeout(1.0)  # a manager that hangs must not stop the camera
            link.sendto(data, address)
    except OSError:
        return False
    return True


_CLOSE = getattr(socket, "SOCK_CLOEXEC", 0)
