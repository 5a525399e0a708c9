"""Read FlatBuffers tables with every offset checked.

The generated readers trust their input, and read out of bounds in a damaged file. This one reads
the few tables that lmedge needs, from bytes that it does not trust. All that it reads of a buffer
is bounded by its size: vectors that overlap, or a table that many others refer to, would otherwise
take time that grows with the square of it.
Layout: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct

# Bytes read of a buffer, as a multiple of its size. A buffer that no entry of is read twice takes
# less than one; writers may share equal strings and vectors.
MOST_READ = 2
MOST_ENTRIES = 1 << 16  # of a vector, unless its reader expects fewer
_TABLE_BYTES = 8  # the least that a table takes: its own offset and the entry that refers to it


class DamagedError(ValueError):
    """An offset or a length points outside the file, or more is referred to than it has."""


class _Budget:
    """The bytes that may still be read of a buffer."""

    def __init__(self, size: int) -> None:
        self._left = MOST_READ * size + 4096

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise DamagedError("its tables overlap")


class Table:
    """One table of a buffer, whose fields have the numbers of the schema."""

    def __init__(self, data: bytes, position: int, budget: _Budget | None = None) -> None:
        self._data = data
        self._budget = budget or _Budget(len(data))
        self._budget.take(_TABLE_BYTES)
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
        return None if at is None else self._table(at)

    def string(self, field: int, longest: int = 1024) -> str:
        """Read a string of at most `longest` bytes; empty if it is absent."""
        start, length = self._vector(field, 1, longest)
        try:
            return self._data[start : start + length].decode()
        except UnicodeDecodeError as error:
            raise DamagedError("text is not UTF-8") from error

    def bytes(self, field: int) -> bytes:
        """Read a vector of bytes; empty if it is absent."""
        start, length = self._vector(field, 1, len(self._data))
        return self._data[start : start + length]

    def size(self, field: int) -> int:
        """Return the length of a vector of bytes, which is inside the buffer; 0 if it is absent."""
        return self._vector(field, 1, len(self._data))[1]

    def integers(self, field: int, longest: int = MOST_ENTRIES) -> tuple[int, ...]:
        """Read a vector of at most `longest` int32; empty if it is absent."""
        start, length = self._vector(field, 4, longest)
        return struct.unpack_from(f"<{length}i", self._data, start)

    def longs(self, field: int, longest: int = MOST_ENTRIES) -> tuple[int, ...]:
        """Read a vector of at most `longest` int64; empty if it is absent."""
        start, length = self._vector(field, 8, longest)
        return struct.unpack_from(f"<{length}q", self._data, start)

    def floats(self, field: int, longest: int = MOST_ENTRIES) -> tuple[float, ...]:
        """Read a vector of at most `longest` float32; empty if it is absent."""
        start, length = self._vector(field, 4, longest)
        return struct.unpack_from(f"<{length}f", self._data, start)

    def tables(self, field: int, longest: int = MOST_ENTRIES) -> list[Table]:
        """Read a vector of at most `longest` tables; empty if it is absent."""
        start, length = self._vector(field, 4, longest)
        return [self._table(at) for at in range(start, start + 4 * length, 4)]

    def _table(self, at: int) -> Table:
        return Table(self._data, at + self._read("<I", at), self._budget)

    def _field(self, field: int) -> int | None:
        slot = 4 + 2 * field
        if slot + 2 > self._vtable_size:
            return None
        offset = self._read("<H", self._vtable + slot)
        return self._position + offset if offset else None

    def _vector(self, field: int, item_size: int, longest: int) -> tuple[int, int]:
        at = self._field(field)
        if at is None:
            return 0, 0
        at += self._read("<I", at)
        length = self._read("<I", at)
        if length > longest:
            raise DamagedError(f"a list of {length} entries, {longest} at most are expected")
        if at + 4 + length * item_size > len(self._data):
            raise DamagedError("a vector ends outside the file")
        self._budget.take(4 + length * item_size)
        return at + 4, length

    def _read(self, code: str, at: int) -> int:
        if at < 0 or at + struct.calcsize(code) > len(self._data):
            raise DamagedError("an offset points outside the file")
        return int(struct.unpack_from(code, self._data, at)[0])
