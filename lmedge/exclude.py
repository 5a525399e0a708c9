"""The exclude file: images that are left out, without touching them.

A CSV of path,sha256,reason below a line with these names; paths are relative to DATA. The hash may
be empty; lines that begin with # are comments. An image is left out if its path is listed and the
hash, if there is one, is that of its file. A line that names no image is an error, unless its hash
shows that the image is gone: training would use an image that the user meant to leave out.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .errors import DataError
from .evaluation.folders import LabelledImage
from .evaluation.names import ImageNames, relative_name
from .files import write_text
from .harmless import csv_cell, csv_text
from .image import read_encoded
from .text_files import read_user_text, table_lines

EXCLUDE_FILE = "exclude.txt"
COLUMNS = ("path", "sha256", "reason")
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Exclusion:
    """An image that is left out: its path relative to DATA, its file's hash or "", and why.

    `line` is the number of its line in the file it was read from.
    """

    name: str
    sha256: str = ""
    reason: str = ""
    line: int = dataclasses.field(default=0, compare=False)


def exclude_file_of(data: Path, given: Path | None) -> Path | None:
    """Return the named file, otherwise DATA/exclude.txt if it exists, otherwise None."""
    if given is not None:
        return given
    usual = data / EXCLUDE_FILE
    return usual if usual.is_file() else None


def read_exclusions(path: Path) -> tuple[Exclusion, ...]:
    """Read an exclude file. Raises DataError, naming file and line, when it is none."""
    try:
        lines = list(table_lines(read_user_text(path), COLUMNS, comment="#"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the name") from error
    except ValueError as error:
        raise DataError(f"{path}: not a CSV of {','.join(COLUMNS)} ({error})") from error
    found = []
    for line in lines:
        name, sha256, reason = (*line.cells, "", "", "")[:3]
        sha256 = sha256.strip().lower()
        if not name.strip() or (name.strip() == COLUMNS[0] and sha256 in {"", COLUMNS[1]}):
            continue
        if sha256 and (len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef")):
            raise DataError(
                f"{path}: line {line.number}: {sha256!r} of {name} is not a SHA-256; remove it"
            )
        found.append(Exclusion(csv_text(name), sha256, csv_text(reason), line.number))
    return tuple(found)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchedExclusions:
    """Exclusions by what they name.

    Attributes:
        found: those of an image, under its own name.
        gone: those whose hash no image has any more.
        unmatched: those that name no image, as they were written.
    """

    found: tuple[Exclusion, ...] = ()
    gone: tuple[Exclusion, ...] = ()
    unmatched: tuple[Exclusion, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The names of the images that are left out, or that are gone."""
        return frozenset(one.name for one in (*self.found, *self.gone))


def match_exclusions(
    exclusions: Iterable[Exclusion],
    images: Sequence[LabelledImage],
    data: Path,
    split: Iterable[str] = (),
) -> MatchedExclusions:
    """Find the images that exclusions name; one that was renamed is found by its hash.

    `split` are the names in a split file, whose images may be missing if they are excluded.
    """
    paths = {relative_name(image.path, data): image.path for image in images}
    names = ImageNames([*paths, *split], data)
    found, gone, unmatched = [], [], []
    hashes: Mapping[str, str] | None = None
    for one in exclusions:
        name = names.find(one.name)
        if name is None and one.sha256:
            hashes = _hashes(paths) if hashes is None else hashes
            name = hashes.get(one.sha256)
            if name is None:
                gone.append(one)
                continue
            logger.warning("%s: left out, it is %s of the exclude file", name, one.name)
        if name is None:
            unmatched.append(one)
        else:
            found.append(dataclasses.replace(one, name=name))
    return MatchedExclusions(found=tuple(found), gone=tuple(gone), unmatched=tuple(unmatched))


def _hashes(paths: Mapping[str, Path]) -> dict[str, str]:
    """Return the name of an image by the hash of its file."""
    found = {}
    for name, path in paths.items():
        try:
            found[hashlib.sha256(read_encoded(path)).hexdigest()] = name
        except DataError:
            continue  # reported when it is read to be used
    return found


def check_matched(path: Path, exclusions: MatchedExclusions) -> None:
    """Raise DataError if a line names no image, so that training would use one too many."""
    first = next(iter(exclusions.unmatched), None)
    if first is None:
        return
    more = len(exclusions.unmatched) - 1
    others = f" (and {more} more)" if more else ""
    raise DataError(
        f"{path}: line {first.line}: {first.name!r} is no image of DATA{others}; write the path "
        "below DATA, such as category/landmark/1.jpg, or remove the line"
    )


def write_exclusions(path: Path, exclusions: Iterable[Exclusion]) -> None:
    """Write an exclude file, whole or not at all."""
    stream = io.StringIO()
    stream.write("# Left out by `lmedge train`; remove a line to keep its image.\n")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for one in exclusions:  # a path that begins with # must not read as a comment
        chosen = quoted if one.name.startswith("#") else writer
        chosen.writerow(map(csv_cell, (one.name, one.sha256, one.reason)))
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
        return hashlib.sha256(read_encoded(path)).hexdigest() == sha256
    except DataError:
        return True  # it was listed, and cannot be read: nothing is lost without it
