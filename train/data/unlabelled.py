"""Unknown images of a data set, and their list in the run folder."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from pathlib import Path

from lmedge.errors import DataError, RunError
from lmedge.evaluation.folders import LabelledImage
from lmedge.evaluation.unknown import list_unknown_images, unknown_folder_of
from lmedge.harmless import csv_cell, csv_text
from lmedge.regular import read_regular_text

from .split import Split
from .store import ImageEntry, ImageStore

logger = logging.getLogger(__name__)
_COLUMNS = ("sha256", "path")


def unlabelled(path: Path) -> LabelledImage:
    """Return an image with empty labels."""
    return LabelledImage(path, "", "")


def prepare_unknown(
    data: Path, given: Path | None, store: ImageStore, split: Split
) -> tuple[tuple[ImageEntry, ...], list[str]]:
    """Read the unknown images of a data set.

    Args:
        data: The folder of the photographs.
        given: The folder of the unknown images; None for the one in `data`, if there is one.
        store: The decoded images.
        split: The labelled images.

    Returns:
        The images that decode, each file once, and a line for each unreadable one.

    Raises:
        DataError: The folder holds no image that can be read, or one that has labels too.
    """
    folder = unknown_folder_of(data, given)
    if folder is None:
        return (), []
    admitted, skipped = store.admit([unlabelled(path) for path in list_unknown_images(folder)])
    if not admitted:
        raise DataError(f"{folder}: none of the {len(skipped)} images could be read; {skipped[0]}")
    known = {entry.sha256: entry for part in split.parts.values() for entry in part}
    for entry in admitted:
        if entry.sha256 in known:
            image = known[entry.sha256].image
            raise DataError(
                f"{entry.image.path}: the same file as {image.path}, which shows "
                f"{image.landmark!r}; remove one of them"
            )
    entries = tuple({entry.sha256: entry for entry in admitted}.values())
    logger.info("%d images of anything else in %s", len(entries), folder)
    return entries, skipped


def unlabelled_csv(entries: Sequence[ImageEntry]) -> str:
    """Return the text of a list of images without labels."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((entry.sha256, csv_cell(str(entry.image.path))) for entry in entries)
    return stream.getvalue()


def read_unlabelled(path: Path) -> tuple[ImageEntry, ...]:
    """Read what `unlabelled_csv` wrote.

    Raises:
        OSError: The list cannot be read, or is no file.
        UnicodeDecodeError: It is not UTF-8.
        RunError: A line lacks a column.
    """
    reader = csv.DictReader(io.StringIO(read_regular_text(path), newline=""))
    try:
        return tuple(
            ImageEntry(unlabelled(Path(csv_text(row["path"]))), row["sha256"]) for row in reader
        )
    except (KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path}: line {reader.line_num} is not part of a list of images") from error
