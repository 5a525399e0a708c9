"""The layout beside the images: the folders of the parts, and taxonomy.csv."""

from __future__ import annotations

import collections
import os
from pathlib import Path

from ..errors import DataError
from ..text_files import TableLine, nfc, read_user_text, table_lines
from . import PARTS
from .listing import LeftOut, list_folder

TAXONOMY_FILE = "taxonomy.csv"
UNKNOWN_FOLDER = "unknown"  # in a data set: images of anything else, without labels
# Folders of a part in data sets that other tools wrote
PART_NAMES = {"val": ("val", "valid", "validation")}
_TAXONOMY_COLUMNS = ("landmark", "category")


def parts(data: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the parts in `data` out of train, val and test; none without train."""
    found = tuple(name for name in PARTS if part_folder(Path(data), name).is_dir())
    return found if "train" in found else ()


def part_folder(data: Path, part: str) -> Path:
    """Return the folder of a part; that of "val" may also be named valid or validation."""
    names = PART_NAMES.get(part, (part,))
    return next((data / name for name in names if (data / name).is_dir()), data / part)


def categories_of(data: Path, root: Path) -> dict[str, str] | None:
    """Return landmark -> category from the taxonomy.csv of the part, or of the whole."""
    path = _taxonomy_file(data, root)
    if path is None:
        return None
    return {name: category for name, category, _ in _read_taxonomy(path)}


def _taxonomy_file(data: Path, root: Path) -> Path | None:
    paths = (folder / TAXONOMY_FILE for folder in (root, data))
    return next((path for path in paths if path.is_file()), None)


def unmatched_taxonomy_lines(data: Path) -> list[str]:
    """Return a message for each line of a taxonomy.csv whose landmark has no folder."""
    roots = [part_folder(data, name) for name in parts(data)] or [data]
    folders: dict[Path, set[str]] = collections.defaultdict(set)
    for root in roots:
        path = _taxonomy_file(data, root)
        if path is not None:
            folders[path] |= {nfc(folder.name) for folder in list_folder(root, LeftOut()).folders}
    return [
        f"{path}: line {line}: there is no folder {name!r}; correct the name or remove the line"
        for path, found in folders.items()
        for name, _, line in _read_taxonomy(path)
        if name not in found
    ]


def _read_taxonomy(path: Path) -> list[tuple[str, str, int]]:
    """Return (landmark, category, line) of each line."""
    try:
        header, *lines = list(table_lines(read_user_text(path), _TAXONOMY_COLUMNS)) or [
            TableLine(1, ())
        ]
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: cannot be read as CSV ({why}); save it again") from error
    titles = [nfc(cell.strip()) for cell in header.cells]
    missing = [column for column in _TAXONOMY_COLUMNS if column not in titles]
    if missing:
        raise DataError(
            f"{path}: no column {missing[0]!r}; its first line must be landmark,category"
        )
    at = [titles.index(column) for column in _TAXONOMY_COLUMNS]
    rows = []
    categories: dict[str, str] = {}
    for line in lines:
        cells = [nfc(cell.strip()) for cell in line.cells]
        landmark, category = (cells[i] if i < len(cells) else "" for i in at)
        if not landmark or not category:
            raise DataError(
                f"{path}: line {line.number}: {','.join(cells)!r} lacks its landmark or category; "
                "complete it"
            )
        if categories.setdefault(landmark, category) != category:
            raise DataError(
                f"{path}: landmark {landmark!r} has two categories, {categories[landmark]!r} and "
                f"{category!r}; keep one"
            )
        rows.append((landmark, category, line.number))
    return rows
