"""PNG with a palette: a third of the bytes, and no difference to look at."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import numpy.typing as npt

COLOURS = 200
_SAMPLE = 8000  # of the different colours, to find the palette by
_TURNS = 12
_PART = 4096  # colours at a time that are held against the palette

Pixels = npt.NDArray[np.uint8]


def encode(image: Pixels, colours: int = COLOURS) -> bytes:
    """Encode (H, W, 3) uint8 BGR with at most `colours` of them, 2 to 256.

    The most frequent ones, those of paper and ink, stay as they are. The others are brought to
    their nearest of a palette in which each different colour counts once, so that a few vivid
    pixels keep theirs beside many grey ones.
    """
    packed = image.astype(np.uint32) @ np.array([1, 256, 65536], np.uint32)
    values, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    different = np.stack([values & 255, values >> 8 & 255, values >> 16], 1).astype(np.float32)
    palette, nearest = different, np.arange(len(values))
    if len(values) > colours:
        usual = different[np.argsort(-counts, kind="stable")[: colours // 3]]
        palette = np.vstack([usual, _palette(different, colours - len(usual))])
        nearest = np.concatenate(
            [
                ((part[:, None] - palette[None]) ** 2).sum(axis=2).argmin(axis=1)
                for part in np.split(different, range(_PART, len(different), _PART))
            ]
        )
    indices = nearest[places].reshape(image.shape[:2]).astype(np.uint8)
    return _file(indices, np.rint(palette[:, ::-1]).astype(np.uint8))


def _palette(different: npt.NDArray[np.float32], colours: int) -> npt.NDArray[np.float32]:
    step = max(1, len(different) // _SAMPLE)
    cv2.setRNGSeed(0)
    rule = (cv2.TERM_CRITERIA_MAX_ITER, _TURNS, 0.0)
    sample = np.ascontiguousarray(different[::step])
    _, _, centres = cv2.kmeans(sample, colours, None, rule, 1, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    return np.rint(np.asarray(centres, np.float32))


def _file(indices: Pixels, palette: Pixels) -> bytes:
    """Return the file (PNG, third edition): 8 bits of palette a pixel, rows unfiltered."""
    height, width = indices.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    rows = np.hstack([np.zeros((height, 1), np.uint8), indices]).tobytes()
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
