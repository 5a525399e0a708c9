"""Read FlatBuffers tables with every offset checked.

The generated readers trust their input, and read out of bounds in a damaged file. This one reads
the few tables that lmedge needs, from bytes that it does not trust.
Layout: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct


class DamagedError(ValueError):
    """An offset or a length points outside the file."""


class Table:
    """One table of a buffer, whose fields have the numbers of the schema."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position
        self._vtable = position - self._read("<i", position)
        self._vtable_size = self._read("<H", self._vtable)

    @classmethod
    def root(cls, data: bytes) -> Table:
        """Return the root table of a buffer."""
        if len(data) < 8:
            raise DamagedError("too short")
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def integer(self, field: int, default: int = 0, code: str = "i") -> int:
        """Read a scalar; `code` is its struct code ("b" byte, "i" int32, "I" uint32 ...)."""
        at = self._field(field)
        return default if at is None else self._read("<" + code, at)

    def table(self, field: int) -> Table | None:
        """Read a sub-table."""
        at = self._field(field)
        return None if at is None else Table(self._data, at + self._read("<I", at))

    def string(self, field: int) -> str:
        """Read a string; empty if it is absent."""
        try:
            return self.bytes(field).decode()
        except UnicodeDecodeError as error:
            raise DamagedError("text is not UTF-8") from error

    def bytes(self, field: int) -> bytes:
        """Read a vector of bytes; empty if it is absent."""
        start, length = self._vector(field, 1)
        return self._data[start : start + length]

    def integers(self, field: int) -> tuple[int, ...]:
        """Read a vector of int32; empty if it is absent."""
        start, length = self._vector(field, 4)
        return struct.unpack_from(f"<{length}i", self._data, start)

    def floats(self, field: int) -> tuple[float, ...]:
        """Read a vector of float32; empty if it is absent."""
        start, length = self._vector(field, 4)
        return struct.unpack_from(f"<{length}f", self._data, start)

    def tables(self, field: int) -> list[Table]:
        """Read a vector of tables; empty if it is absent."""
        start, length = self._vector(field, 4)
        places = range(start, start + 4 * length, 4)
        return [Table(self._data, at + self._read("<I", at)) for at in places]

    def _field(self, field: int) -> int | None:
        slot = 4 + 2 * field
        if slot + 2 > self._vtable_size:
            return None
        offset = self._read("<H", self._vtable + slot)
        return self._position + offset if offset else None

    def _vector(self, field: int, item_size: int) -> tuple[int, int]:
        at = self._field(field)
        if at is None:
            return 0, 0
        at += self._read("<I", at)
        length = self._read("<I", at)
        if at + 4 + length * item_size > len(self._data):
            raise DamagedError("a vector ends outside the file")
        return at + 4, length

    def _read(self, code: str, at: int) -> int:
        if at < 0 or at + struct.calcsize(code) > len(self._data):
            raise DamagedError("an offset points outside the file")
        return int(struct.unpack_from(code, self._data, at)[0])
