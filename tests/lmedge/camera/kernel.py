"""Video devices that answer ioctls as Linux does, from the offsets of linux/videodev2.h."""

from __future__ import annotations

import dataclasses
import errno
import os
import struct
from pathlib import Path

import pytest

QUERYCAP, ENUM_FMT = 0x80685600, 0xC0405602
ENUM_FRAMESIZES, ENUM_FRAMEINTERVALS = 0xC02C564A, 0xC034564B
CAPTURE, CAPTURE_PLANES, META = 0x1, 0x1000, 0x800000
DEVICE_CAPS, STREAMING = 0x80000000, 0x04000000

Rates = list[tuple[int, int]] | tuple[tuple[int, int], tuple[int, int]]
Sizes = dict[tuple[int, int], Rates]


@dataclasses.dataclass
class Node:
    """A node: what the kernel answers about it.

    `formats` has a code, and its sizes with their intervals (numerator, denominator): a list of
    them, or a tuple of the least and the most. `steps` has, by code, least, most and step of sizes.
    """

    path: Path
    card: str = "HD Webcam"
    can: int = CAPTURE | STREAMING
    of_device: int | None = None
    formats: dict[str, Sizes] = dataclasses.field(default_factory=dict)
    steps: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    error: int | None = None
    kind: int = 1

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()

    def answer(self, request: int, buffer: bytearray) -> None:
        """Fill the structure, or raise OSError."""
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        if request == QUERYCAP:
            assert len(buffer) == 104
            buffer[0:8] = b"uvcvideo"
            buffer[16 : 16 + len(self.card)] = self.card.encode()
            buffer[48:60] = b"usb-0000:1.2"
            of_device = self.can if self.of_device is None else self.of_device
            struct.pack_into("<3I", buffer, 80, 0x060100, of_device | DEVICE_CAPS, self.can)
            return
        (index,) = struct.unpack_from("<I", buffer, 0)
        if request == ENUM_FMT:
            assert len(buffer) == 64
            code = self._nth(list(self.formats), index)
            if struct.unpack_from("<I", buffer, 4) != (self.kind,):
                raise OSError(errno.EINVAL, "wrong type of buffer")
            buffer[12:18] = b"pixels"
            buffer[44:48] = code.ljust(4).encode()
        elif request == ENUM_FRAMESIZES:
            assert len(buffer) == 44
            self._size(self._code(buffer, 4), index, buffer)
        else:
            assert request == ENUM_FRAMEINTERVALS and len(buffer) == 52
            size = struct.unpack_from("<2I", buffer, 8)
            self._interval(self.formats[self._code(buffer, 4)], size, index, buffer)

    def _code(self, buffer: bytearray, place: int) -> str:
        return buffer[place : place + 4].decode().rstrip()

    def _size(self, code: str, index: int, buffer: bytearray) -> None:
        if code in self.steps:
            if index:
                raise OSError(errno.EINVAL, "one answer")
            (a, b), (c, d), (e, f) = zip(*[iter(self.steps[code])] * 2, strict=True)
            struct.pack_into("<7I", buffer, 8, 3, a, c, e, b, d, f)
        else:
            struct.pack_into("<3I", buffer, 8, 1, *self._nth(list(self.formats[code]), index))

    def _interval(self, sizes: Sizes, size: object, index: int, buffer: bytearray) -> None:
        rates = sizes.get(size, [])  # type: ignore[call-overload]
        if isinstance(rates, tuple):
            if index:
                raise OSError(errno.EINVAL, "one answer")
            struct.pack_into("<7I", buffer, 16, 3, *rates[0], *rates[1], 1, 1)
        else:
            struct.pack_into("<3I", buffer, 16, 1, *self._nth(rates, index))

    @staticmethod
    def _nth(values: list, index: int):  # type: ignore[no-untyped-def]
        if index >= len(values):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return values[index]


class Kernel:
    """The devices of a machine, in place of those of this one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.nodes: dict[Path, Node] = {}
        self._open: dict[int, Node] = {}
        really_open, really_close = os.open, os.close

        def opened(path: object, *words: object) -> int:
            file = really_open(path, *words)  # type: ignore[arg-type]
            if (node := self.nodes.get(Path(os.fsdecode(path)))) is not None:  # type: ignore[arg-type]
                self._open[file] = node
            return file

        def closed(file: int) -> None:
            self._open.pop(file, None)
            really_close(file)

        def asked(file: int, request: int, buffer: bytearray) -> int:
            if file not in self._open:
                raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
            self._open[file].answer(request, buffer)
            return 0

        monkeypatch.setattr(os, "open", opened)
        monkeypatch.setattr(os, "close", closed)
        monkeypatch.setattr("fcntl.ioctl", asked)

    def add(self, node: Node) -> Path:
        """Connect a device and return its path."""
        self.nodes[node.path] = node
        return node.path

    def all_closed(self) -> bool:
        """True if no device is open."""
        return not self._open
