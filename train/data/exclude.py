"""The exclude file: images that are left out, without touching them.

A CSV of path,sha256,reason below a line with these names; paths are relative to DATA. The hash may
be empty; lines that begin with # are comments. An image is left out if its path is listed and the
hash, if there is one, is that of its file.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from lmedge.errors import DataError
from lmedge.evaluation.folders import LabelledImage
from lmedge.files import write_text

from .inspection import relative_name
from .store import read_file

EXCLUDE_FILE = "exclude.txt"
COLUMNS = ("path", "sha256", "reason")
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Exclusion:
    """An image that is left out: its path relative to DATA, its file's hash or "", and why."""

    name: str
    sha256: str = ""
    reason: str = ""


def exclude_file_of(data: Path, given: Path | None) -> Path | None:
    """Return the named file, otherwise DATA/exclude.txt if it exists, otherwise None."""
    if given is not None:
        return given
    usual = data / EXCLUDE_FILE
    return usual if usual.is_file() else None


def read_exclusions(path: Path) -> tuple[Exclusion, ...]:
    """Read an exclude file. Raises DataError, naming file and line, when it is none."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DataError(f"{path}: cannot be read ({why}); check the name") from error
    lines = [line for line in io.StringIO(text, newline="\n") if not line.startswith("#")]
    found = []
    try:
        for row in csv.reader(lines, strict=True):
            name, sha256, reason = (*row, "", "", "")[:3]
            sha256 = sha256.strip()
            if not name.strip() or (name, sha256) == COLUMNS[:2]:
                continue
            if sha256 and (len(sha256) != 64 or not set(sha256.lower()) <= set("0123456789abcdef")):
                raise DataError(f"{path}: {sha256!r} of {name} is not a SHA-256; remove the line")
            found.append(Exclusion(name, sha256.lower(), reason))
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV of {','.join(COLUMNS)} ({error})") from error
    return tuple(found)


def write_exclusions(path: Path, exclusions: Iterable[Exclusion]) -> None:
    """Write an exclude file, whole or not at all."""
    stream = io.StringIO()
    stream.write("# Left out by `lmedge train`; remove a line to keep its image.\n")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for one in exclusions:  # a path that begins with # must not read as a comment
        chosen = quoted if one.name.startswith("#") else writer
        chosen.writerow((one.name, one.sha256, one.reason))
    write_text(path, stream.getvalue())


def leave_out(
    images: Sequence[LabelledImage], exclusions: Iterable[Exclusion], data: Path
) -> list[LabelledImage]:
    """Return the images that are not excluded. A file that changed since is kept with a warning."""
    listed = {one.name: one for one in exclusions}
    kept = []
    for image in images:
        one = listed.get(relative_name(image.path, data))
        if one is not None and _is(image.path, one.sha256):
            continue
        if one is not None:
            logger.warning("%s: changed since it was excluded, kept", image.path)
        kept.append(image)
    return kept


def _is(path: Path, sha256: str) -> bool:
    if not sha256:
        return True
    try:
        return hashlib.sha256(read_file(path)).hexdigest() == sha256
    except DataError:
        return True  # it was listed, and cannot be read: nothing is lost without it
