"""Features on disk, written block by block and read through a memory map.

The file is a plain safetensors file with one tensor, `features`: any reader of the format opens
it. The package writes arrays that are in memory as a whole; features of many images need not be.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmedge.files import replacing

Floats = npt.NDArray[np.float32]
_LENGTH = struct.Struct("<Q")  # of the header that follows
_MAX_HEADER = 4096
_NAME = "features"


def write_features(path: Path, shape: tuple[int, int], blocks: Iterable[Floats]) -> None:
    """Write blocks of rows, (N, F) in all, as one tensor; whole or not at all."""
    size = 4 * math.prod(shape)
    about = {_NAME: {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}
    header = json.dumps(about, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the data is aligned
    with replacing(path) as temporary, temporary.open("wb") as stream:
        stream.write(_LENGTH.pack(len(header)) + header)
        for block in blocks:
            stream.write(np.ascontiguousarray(block, "<f4").tobytes())


def read_features(path: Path, shape: tuple[int, int]) -> Floats:
    """Return the (N, F) features of a file, read from disk where they are used.

    Raises ValueError when it is damaged or of another shape.
    """
    with path.open("rb") as stream:
        start = stream.read(_LENGTH.size)
        length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else 0
        header = stream.read(length) if 0 < length <= _MAX_HEADER else b""
    about = json.loads(header)
    found = about.get(_NAME) if isinstance(about, dict) else None
    wanted = {"dtype": "F32", "shape": list(shape), "data_offsets": [0, 4 * math.prod(shape)]}
    offset = _LENGTH.size + length
    if found != wanted or path.stat().st_size != offset + 4 * math.prod(shape):
        raise ValueError(f"{path} does not hold features of shape {shape}")
    return np.asarray(np.memmap(path, "<f4", "r", offset, shape))
