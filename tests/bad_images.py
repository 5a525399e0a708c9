"""Image files that cannot be read, each in its own way."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np


def truncated_jpeg(path: Path) -> Path:
    """Write the first half of a JPEG."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    encoded = cv2.imencode(".jpg", noise)[1].tobytes()
    path.write_bytes(encoded[: len(encoded) // 2])
    return path


def text(path: Path) -> Path:
    """Write text under the name of an image."""
    path.write_text("not an image\n")
    return path


def enormous_png(path: Path, side: int = 60_000) -> Path:
    """Write a PNG of a few bytes whose header promises side x side pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    return path
