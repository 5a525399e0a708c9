"""split.csv beside the photographs: a split that travels with the data.

The columns are those of the run folder's split.csv. Paths are relative to DATA with forward
slashes, so that a copy of the data at another place has the same split.
"""

from __future__ import annotations

import csv
import dataclasses
import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from lmedge.errors import DataError, RunError
from lmedge.evaluation import PARTS

from .inspection import relative_name
from .split import Split, check_trained
from .store import ImageEntry

SPLIT_FILE = "split.csv"
logger = logging.getLogger(__name__)


def split_file_of(data: Path, given: Path | None) -> Path | None:
    """Return the named file, otherwise DATA/split.csv if it exists, otherwise None."""
    if given is not None:
        return given
    usual = data / SPLIT_FILE
    return usual if usual.is_file() else None


def as_portable_csv(split: Split, data: Path) -> str:
    """Return the text of split.csv with paths relative to `data`."""
    parts = {
        part: tuple(_with_path(entry, relative_name(entry.image.path, data)) for entry in entries)
        for part, entries in split.parts.items()
    }
    return Split(parts).as_csv()


def _with_path(entry: ImageEntry, path: str) -> ImageEntry:
    return ImageEntry(dataclasses.replace(entry.image, path=Path(path)), entry.sha256)


def read_split(
    path: Path, entries: Sequence[ImageEntry], data: Path, excluded: Collection[str] = ()
) -> Split:
    """Return the split that `path` describes, of the entries found in `data`.

    An image is found by its path and hash, or by its hash alone if it was moved within its
    landmark. Images that the file does not name are left out with a warning.

    Args:
        path: the split file.
        entries: the images found.
        data: the folder that its paths are relative to.
        excluded: names that may be missing.

    Raises:
        DataError: if an image is missing, changed or labelled otherwise.
    """
    wanted = _rows(path)
    by_name = {relative_name(entry.image.path, data): entry for entry in entries}
    by_hash = defaultdict(list)
    for entry in entries:
        by_hash[entry.sha256, entry.image.landmark].append(entry)
    named = {name for _, name, _ in wanted}
    parts: dict[str, list[ImageEntry]] = {part: [] for part in PARTS}
    missing, used = [], set()
    for part, name, row in wanted:
        if name in excluded:
            continue
        found = by_name.get(name)
        if found is None or found.sha256 != row.sha256:
            moved = by_hash[row.sha256, row.image.landmark]
            found = next((e for e in moved if relative_name(e.image.path, data) not in named), None)
        if found is None:
            missing.append(name)
            continue
        _check_labels(path, name, row, found)
        if found.image.path in used:
            raise DataError(f"{path}: names {name} twice; keep one line of it")
        used.add(found.image.path)
        parts[part].append(found)
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of its {len(wanted)} images are not in {data} or were "
            f"changed, {missing[0]} for one; put them back or write the split anew"
        )
    if len(used) < len(entries):
        logger.warning("%s: does not name %d images, left out", path, len(entries) - len(used))
    return _checked(path, parts)


def _checked(path: Path, parts: dict[str, list[ImageEntry]]) -> Split:
    if not parts["train"]:
        raise DataError(f"{path}: has no training part; write the split anew")
    check_trained(parts["train"], parts)
    return Split({part: tuple(found) for part, found in parts.items()})


def _rows(path: Path) -> list[tuple[str, str, ImageEntry]]:
    try:
        split = Split.from_csv(path.read_text("utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: cannot be read as a split ({why}); check the name") from error
    except RunError as error:
        raise DataError(f"{error}; write it anew with `lmedge data split`") from error
    rows = [(p, e.image.path.as_posix(), e) for p in PARTS for e in split.parts[p]]
    if not rows:
        raise DataError(f"{path}: names no images; write it anew with `lmedge data split`")
    return rows


def _check_labels(path: Path, name: str, row: ImageEntry, found: ImageEntry) -> None:
    listed, actual = ((e.image.category, e.image.landmark) for e in (row, found))
    if listed != actual:
        raise DataError(
            f"{path}: {name} is {'/'.join(listed)} there, but stands in the folder of "
            f"{'/'.join(actual)}; write the split anew"
        )
