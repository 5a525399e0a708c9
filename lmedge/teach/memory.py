"""The photographs' features inside a taught file, so that later lessons are exact.

An associated file holds the rows one behind the other, landmark by landmark in the order of the
label file, those of unknown images last. lmedge.json holds how many there are of each, and which
ones a camera or origin.csv has named as one burst. What would take more than MOST_BYTES is taught
and kept with 4 bits a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..archive import read_archive
from ..errors import ModelFileError
from ..info import is_number
from ..model_file import ModelFile
from .backbone import Stored
from .features import COARSE_BITS, Bursts, FeatureSet, coarse_numbers, coarse_places

TAUGHT = "taught"  # the entry of lmedge.json
FEATURES_FILE = "taught_features.bin"
DESCRIPTION = "features of the photographs that the file has learned"
MOST_BYTES = 8 * 1024 * 1024


def storable(found: FeatureSet) -> FeatureSet:
    """Return a set as a file keeps it: coarse if it would be larger than MOST_BYTES otherwise.

    A set that is too large even then is not kept, and stays as it is.
    """
    if _bytes(found, found.bits) <= MOST_BYTES or _bytes(found, COARSE_BITS) > MOST_BYTES:
        return found
    return found.coarsened()


def _bytes(found: FeatureSet, bits: int) -> int:
    count = (found.count + len(found.unknown)) * int(found.unknown.shape[1])
    return -(-count * bits // 8)


def remembered(found: FeatureSet, *, forget: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the entry of lmedge.json for a set, and the file of its rows.

    There is no such file if it is not wanted, or if it would be larger than MOST_BYTES.
    """
    parts = [found.landmarks[name] for name in sorted(found.landmarks)]
    rows = np.concatenate([*parts, found.unknown])
    kept = not forget and _bytes(found, found.bits) <= MOST_BYTES
    entry = {
        "features": FEATURES_FILE if kept else None,
        "width": found.unknown.shape[1],
        "zero": found.zero,
        "photographs": {name: len(found.landmarks[name]) for name in sorted(found.landmarks)},
        "unknown": len(found.unknown),
    }
    if found.bits != 8:
        entry["bits"] = found.bits
    if kept and found.bursts:
        entry["bursts"] = {name: [list(one) for one in all_] for name, all_ in found.bursts.items()}
    return entry, {FEATURES_FILE: _content(rows, found)} if kept else {}


def _content(rows: Stored, found: FeatureSet) -> bytes:
    if found.bits == 8:
        return rows.tobytes()
    places = coarse_places(rows, found.zero).reshape(-1)
    both = np.append(places, np.zeros(len(places) % 2, np.uint8)).reshape(-1, 2)
    return np.asarray(both[:, 0] | both[:, 1] << COARSE_BITS, np.uint8).tobytes()


def _numbers(content: bytes, bits: int, zero: int, count: int) -> Stored:
    """Return (count,) numbers. Raises ValueError if there are others."""
    if bits not in (8, COARSE_BITS) or len(content) != -(-count * bits // 8):
        raise ValueError("their number is another")
    if bits == 8:
        return np.frombuffer(content, np.int8)
    packed = np.frombuffer(content, np.uint8)
    places = np.stack([packed & 15, packed >> COARSE_BITS], axis=1).reshape(-1)[:count]
    return np.asarray(coarse_numbers(zero)[places])


def recall(model: ModelFile) -> FeatureSet | None:
    """Return the set that a file remembers, None if it was not taught or has forgotten.

    Raises ModelFileError if what it remembers does not fit its labels.
    """
    entry = model.info.get(TAUGHT)
    if not isinstance(entry, dict) or entry.get("features") is None:
        return None
    try:
        return _rows(model, entry)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"{model.path}: the photographs that it remembers cannot be used ({error}); teach it "
            "again from photographs"
        ) from error


def _rows(model: ModelFile, entry: Mapping[str, Any]) -> FeatureSet:
    content = read_archive(model.data)[1][str(entry["features"])]
    names, width, zero = model.taxonomy.landmarks, entry["width"], entry["zero"]
    counts = [*(entry["photographs"][name] for name in names), entry["unknown"]]
    if not all(is_number(value) for value in (width, zero, *counts)):
        raise ValueError("a number is none")
    bits = entry.get("bits", 8)
    if min(counts) < 0 or int(width) < 1 or not -128 <= int(zero) <= 127:
        raise ValueError("their number is another")
    count = int(width) * sum(map(int, counts))
    rows = _numbers(content, bits, int(zero), count).reshape(-1, int(width))
    parts = np.split(rows, np.cumsum(counts)[:-1])
    return FeatureSet(
        hierarchy=model.taxonomy.hierarchy(),
        landmarks=dict(zip(names, parts[:-1], strict=True)),
        unknown=parts[-1],
        zero=int(zero),
        bursts={
            name: _bursts(all_, len(parts[names.index(name)]))
            for name, all_ in sorted(entry.get("bursts", {}).items())
        },
        bits=int(bits),
    )


def _bursts(found: Any, count: int) -> Bursts:
    """Return the bursts of one landmark. Raises ValueError or TypeError if they are none."""
    bursts = tuple(tuple(int(place) for place in one) for one in found)
    places = [place for one in bursts for place in one]
    if len(set(places)) < len(places) or not all(0 <= place < count for place in places):
        raise ValueError("a burst holds rows that are not there")
    if not all(len(one) > 1 for one in bursts):
        raise ValueError("a burst holds one row alone")
    return bursts
