"""The photographs' features inside a taught file, so that later lessons are exact.

An associated file holds the rows one behind the other, landmark by landmark in the order of the
label file, those of unknown images last. lmedge.json holds how many there are of each, and which
ones a camera or origin.csv has named as one burst.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..archive import read_archive
from ..errors import ModelFileError
from ..info import is_number
from ..model_file import ModelFile
from .features import Bursts, FeatureSet

TAUGHT = "taught"  # the entry of lmedge.json
FEATURES_FILE = "taught_features.bin"
DESCRIPTION = "int8 features of the photographs that the file was taught"
MOST_BYTES = 8 * 1024 * 1024


def remembered(found: FeatureSet, *, forget: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the entry of lmedge.json for a set, and the file of its rows.

    There is no such file if it is not wanted, or if it would be larger than MOST_BYTES.
    """
    parts = [found.landmarks[name] for name in sorted(found.landmarks)]
    width = found.unknown.shape[1]
    rows = np.concatenate([*parts, found.unknown])
    kept = not forget and rows.nbytes <= MOST_BYTES
    entry = {
        "features": FEATURES_FILE if kept else None,
        "width": width,
        "zero": found.zero,
        "photographs": {name: len(found.landmarks[name]) for name in sorted(found.landmarks)},
        "unknown": len(found.unknown),
    }
    if kept and found.bursts:
        entry["bursts"] = {name: [list(one) for one in all_] for name, all_ in found.bursts.items()}
    return entry, {FEATURES_FILE: rows.tobytes()} if kept else {}


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
    if len(content) != int(width) * sum(map(int, counts)) or min(counts) < 0 or int(width) < 1:
        raise ValueError("their number is another")
    rows = np.frombuffer(content, np.int8).reshape(-1, int(width))
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
