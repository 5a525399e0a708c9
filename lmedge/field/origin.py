"""origin.csv beside the photographs: where each collected image came from, and who is with it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import DataError
from ..files import write_text
from ..harmless import csv_cell, csv_text
from ..text_files import read_user_text, table_lines

ORIGIN_FILE = "origin.csv"
COLUMNS = (
    *("path", "sha256", "category", "landmark", "labelled", "predicted", "probability", "known"),
    *("reasons", "burst", "camera", "time", "model", "collected"),
)
Row = Mapping[str, str]


def read_origin(data: Path) -> list[dict[str, str]]:
    """Return the rows of origin.csv, none if there is no such file.

    Raises:
        DataError: It is no table with these columns.
    """
    path = data / ORIGIN_FILE
    if not path.exists():
        return []
    try:
        header, *lines = list(table_lines(read_user_text(path), COLUMNS))
        titles = [cell.strip() for cell in header.cells]
        places = {column: titles.index(column) for column in COLUMNS}
        return [
            {column: csv_text(line.cells[place]) for column, place in places.items()}
            for line in lines
            if any(cell.strip() for cell in line.cells)
        ]
    except (OSError, ValueError, IndexError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}: not a table of {COLUMNS[0]},{COLUMNS[1]},... ({why}); correct or remove it"
        ) from error


def change_origin(data: Path, added: Iterable[Row], removed: Iterable[str] = ()) -> None:
    """Add rows, and remove those of some paths; a path has one row. The file is whole at any time.

    Raises:
        DataError: The file that is there is no such table.
        LmedgeError: It cannot be written.
    """
    rows = {row["path"]: row for row in read_origin(data)}
    for path in removed:
        rows.pop(path, None)
    for row in added:
        rows[row["path"]] = dict(row)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows.values():
        writer.writerow([csv_cell(row[column]) for column in COLUMNS])
    write_text(data / ORIGIN_FILE, stream.getvalue())


def bursts_of(data: Path) -> dict[str, str]:
    """Return the burst of each image by its SHA-256, for those that have one.

    Raises:
        DataError: origin.csv is no such table.
    """
    rows = read_origin(data)
    return {row["sha256"].lower(): row["burst"] for row in rows if row["burst"]}
