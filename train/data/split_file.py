"""split.csv beside the photographs: a split that travels with the data.

The columns are those of the run folder's split.csv. Paths are relative to DATA with forward
slashes, so that a copy of the data at another place has the same split.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from lmedge.errors import DataError, RunError
from lmedge.evaluation import PARTS
from lmedge.evaluation.folders import LabelledImage
from lmedge.evaluation.names import ImageNames, relative_name
from lmedge.taxonomy import counted
from lmedge.text_files import read_user_text

from .split import Split, SplitRow, check_trained, split_rows
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
    wanted = read_split_rows(path)
    by_name = {relative_name(entry.image.path, data): entry for entry in entries}
    by_hash = defaultdict(list)
    for entry in entries:
        by_hash[entry.sha256, entry.image.landmark].append(entry)
    names = ImageNames([*by_name, *excluded], data)
    rows = [(row, names.find(row.name) or row.name) for row in wanted]
    named = {name for _, name in rows}
    parts: dict[str, list[ImageEntry]] = {part: [] for part in PARTS}
    missing, used = [], set()
    for row, name in rows:
        if name in excluded:
            continue
        found = by_name.get(name)
        if found is None or found.sha256 != row.entry.sha256:
            moved = by_hash[row.entry.sha256, row.entry.image.landmark]
            found = next((e for e in moved if relative_name(e.image.path, data) not in named), None)
        if found is None:
            missing.append(row)
            continue
        _check_labels(path, row, found)
        if found.image.path in used:
            raise DataError(f"{path}: line {row.line} names {name} twice; keep one line of it")
        used.add(found.image.path)
        parts[row.part].append(found)
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of its {len(wanted)} images are not in {data} or were "
            f"changed, line {missing[0].line}: {missing[0].name} for one; put them back or write "
            "the split anew"
        )
    _report_unnamed(path, entries, used)
    return _checked(path, parts)


def _report_unnamed(path: Path, entries: Sequence[ImageEntry], used: Collection[Path]) -> None:
    """Log what a split file leaves out; a whole landmark, which no head learns, is an error."""
    if len(used) == len(entries):
        return
    left = counted(len(entries) - len(used), "image", "images")
    logger.warning("%s: does not name %s, left out", path, left)
    for landmark, count in sorted(unnamed_landmarks([e.image for e in entries], used).items()):
        logger.error(
            "%s: names none of the %d images of %s, which is not learnt; write the split anew with "
            "`lmedge data split --overwrite`, or remove the folder",
            path,
            count,
            landmark,
        )


def unnamed_landmarks(images: Sequence[LabelledImage], used: Collection[Path]) -> dict[str, int]:
    """Return the landmarks that have no image among `used`, with their numbers of images."""
    named = {image.landmark for image in images if image.path in used}
    return dict(Counter(image.landmark for image in images if image.landmark not in named))


def _checked(path: Path, parts: dict[str, list[ImageEntry]]) -> Split:
    if not parts["train"]:
        raise DataError(f"{path}: has no training part; write the split anew")
    check_trained(parts["train"], parts)
    return Split({part: tuple(found) for part, found in parts.items()})


def read_split_rows(path: Path) -> list[SplitRow]:
    """Return the rows of a split file, part by part. Raises DataError if it is none."""
    try:
        rows = list(split_rows(read_user_text(path), str(path)))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: cannot be read as a split ({why}); check the name") from error
    except RunError as error:
        raise DataError(f"{error}; write it anew with `lmedge data split`") from error
    if not rows:
        raise DataError(f"{path}: names no images; write it anew with `lmedge data split`")
    return sorted(rows, key=lambda row: PARTS.index(row.part))


def _check_labels(path: Path, row: SplitRow, found: ImageEntry) -> None:
    listed, actual = ((e.image.category, e.image.landmark) for e in (row.entry, found))
    if listed != actual:
        raise DataError(
            f"{path}: line {row.line}: {row.name} is {'/'.join(listed)} there, but stands in the "
            f"folder of {'/'.join(actual)}; write the split anew"
        )
