"""Messages between workers over TCP: a JSON header and bytes, each with its length in front."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import select
import socket
import struct
import threading
import time
from typing import Any

_LENGTHS = struct.Struct("<IQ")  # bytes of the JSON header, bytes of the payload
_MAX_HEADER = 1 << 20
_BLOCK = 1 << 20  # bytes read at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class Message:
    """A message: `kind` is its name, `about` its other values, `payload` its bytes."""

    kind: str
    about: dict[str, Any] = dataclasses.field(default_factory=dict)
    payload: bytes = b""


class WorkerLink:
    """A connection to another worker. One thread reads; any thread may write.

    Attributes:
        heard: the time of `time.monotonic` at which the last bytes arrived.
    """

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._writing = threading.Lock()
        self.heard = time.monotonic()
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, message: Message) -> None:
        """Write a message. Raises OSError if the connection is gone."""
        with self._writing:
            self._write(message)

    def send_if_free(self, message: Message) -> None:
        """Write a small message unless that would wait: bytes on their way are a sign of life."""
        if not self._writing.acquire(blocking=False):
            return
        try:
            if select.select([], [self._link], [], 0)[1]:
                self._write(message)
        finally:
            self._writing.release()

    def _write(self, message: Message) -> None:
        header = json.dumps({"kind": message.kind, **message.about}).encode()
        self._link.sendall(_LENGTHS.pack(len(header), len(message.payload)) + header)
        if message.payload:
            self._link.sendall(message.payload)

    def receive(self, seconds: float | None = None) -> Message:
        """Return the next message.

        Raises:
            OSError: The connection is gone, or nothing came for `seconds`.
            ValueError: What came is not a message.
        """
        self._link.settimeout(seconds)
        try:
            header_size, size = _LENGTHS.unpack(self._read(_LENGTHS.size))
            if header_size > _MAX_HEADER:
                raise ValueError("not a message")
            about = json.loads(self._read(header_size))
            if not isinstance(about, dict) or not isinstance(about.get("kind"), str):
                raise ValueError("not a message")
            return Message(kind=about.pop("kind"), about=about, payload=self._read(size))
        finally:
            self._link.settimeout(None)

    def _read(self, size: int) -> bytes:
        """Read `size` bytes; memory is taken as they come, whatever number was announced."""
        found = bytearray()
        while len(found) < size:
            block = self._link.recv(min(_BLOCK, size - len(found)))
            if not block:
                raise ConnectionResetError("the connection was closed")
            self.heard = time.monotonic()
            found += block
        return bytes(found)

    def close(self) -> None:
        """Close the connection; a thread that reads from it ends."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self._link.close()
