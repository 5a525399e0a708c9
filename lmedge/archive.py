"""The zip archive at the end of a .tflite, read without unpacking anything.

The exporter writes the plainest archive there is: stored entries one behind the other, from the end
of the graph to the directory, without comments, flags or dates. Only that is read. An archive that
two readers could understand differently, or that unpacks to more than it takes, is refused.
Layout: APPNOTE.TXT 6.3.10 of PKWARE, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Mapping

from .errors import ModelFileError
from .flatbuffer import DamagedError

MOST_ENTRIES = 16
MOST_BYTES = 16 * 1024 * 1024  # of all entries together
CHECKSUM = "content_sha256"  # of lmedge.json, see `content_digest`
NO_CHECKSUM = "0" * 64
_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
# Signature, versions, flags, method, time, date, CRC-32, stored and unpacked size, lengths of name
# and extra field; in the directory also of the comment, then disk, attributes and place.
_LOCAL = struct.Struct("<4s5H3I2H")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")


def read_archive(data: bytes) -> tuple[int, dict[str, bytes]]:
    """Return the place at which the archive begins, and its files by name.

    Args:
        data: The bytes of a file that ends with an archive.

    Raises:
        DamagedError: There is no archive at the end, or it is damaged.
        ModelFileError: It is compressed, encrypted, too large, or has a name twice.
    """
    count, at = _directory(data)
    end = at
    files: dict[str, bytes] = {}
    begin = next_place = -1
    for _ in range(count):
        name, content, place, at, behind = _entry(data, at)
        if begin < 0:
            begin = next_place = place
            if end - begin > MOST_BYTES:
                raise ModelFileError(f"its associated files take over {MOST_BYTES >> 20} MiB")
        if place != next_place or behind > end:
            raise DamagedError("its archive has gaps, or entries that overlap")
        if name in files:
            raise ModelFileError(f"its archive has {name} twice; export it again")
        files[name] = content
        next_place = behind
    if next_place != end or at != len(data) - _END.size:
        raise DamagedError("its archive has gaps, or entries that overlap")
    return begin, files


def content_digest(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of an archive's files, the checksum itself read as 64 zeros.

    Hashed are, in the order of the names, each name, its length in bytes as decimal digits, and
    its content, with a zero byte behind each.
    """
    digest = hashlib.sha256()
    pattern = re.compile(rb'("%s": ")[0-9a-f]{64}"' % CHECKSUM.encode())
    for name, content in sorted(files.items()):
        plain = pattern.sub(rb"\g<1>" + NO_CHECKSUM.encode() + b'"', content, count=1)
        for part in (name.encode(), str(len(plain)).encode(), plain):
            digest.update(part + b"\0")
    return digest.hexdigest()


def _directory(data: bytes) -> tuple[int, int]:
    """Return the number of entries and the place of the directory."""
    place = len(data) - _END.size
    if place < 0 or data[place : place + 4] != b"PK\5\6":
        raise DamagedError("no archive at its end, or bytes behind it")
    _, disk, first, here, count, size, at, comment = _END.unpack_from(data, place)
    if disk or first or here != count or comment or at + size != place:
        raise DamagedError("the end of its archive is damaged")
    if not 0 < count <= MOST_ENTRIES:
        raise ModelFileError(
            f"its archive has {count} files, {MOST_ENTRIES} at most are expected; export it again"
        )
    return count, at


def _entry(data: bytes, at: int) -> tuple[str, bytes, int, int, int]:
    """Return name, content, place, place of the next entry of the directory, end of the content."""
    if at + _ENTRY.size > len(data):
        raise DamagedError("its archive ends too early")
    entry = _ENTRY.unpack_from(data, at)
    mark, _, _, flags, method, _, _, crc, stored, size, name_length, extra, comment, disk = entry[
        :14
    ]
    place = entry[-1]
    raw = data[at + _ENTRY.size : at + _ENTRY.size + name_length]
    if mark != b"PK\1\2" or not _NAME.fullmatch(raw) or disk:
        raise DamagedError("an entry of its archive is damaged")
    name = raw.decode("ascii")
    if method or flags or stored != size or extra or comment:
        raise ModelFileError(f"{name} in its archive is not stored as it is; export it again")
    behind = place + _LOCAL.size + name_length + size
    if behind > len(data):
        raise DamagedError("its archive ends too early")
    local = _LOCAL.unpack_from(data, place)
    content = data[behind - size : behind]
    same = (local[2], local[3], *local[6:]) == (0, 0, crc, size, size, name_length, 0)
    if local[0] != b"PK\3\4" or not same:
        raise DamagedError(f"two descriptions of {name} in its archive differ")
    if data[place + _LOCAL.size : behind - size] != raw or zlib.crc32(content) != crc:
        raise DamagedError(f"{name} in its archive is damaged")
    return name, content, place, at + _ENTRY.size + name_length, behind
