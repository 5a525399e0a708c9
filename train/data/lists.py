"""Findings about the lists beside the photographs: exclude file, split.csv and taxonomy.csv."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lmedge.evaluation.folders import LabelledImage, unmatched_taxonomy_lines
from lmedge.evaluation.names import ImageNames
from lmedge.exclude import Exclusion, MatchedExclusions, match_exclusions, read_exclusions

from .findings import DataFinding
from .inspection import Inspected
from .split_file import read_split_rows, split_file_of, unnamed_landmarks


class BesideData:
    """The lists of a data set, and what in them names nothing."""

    def __init__(self, data: Path, exclude: Path | None, images: Sequence[LabelledImage]) -> None:
        """Read the lists. Raises DataError for one that cannot be read."""
        self._data, self._exclude = data, exclude
        self._split = split_file_of(data, None)
        self._rows = () if self._split is None else tuple(read_split_rows(self._split))
        self.written: tuple[Exclusion, ...] = () if exclude is None else read_exclusions(exclude)
        self.exclusions: MatchedExclusions = match_exclusions(
            self.written, images, data, [row.name for row in self._rows]
        )

    def findings(self, seen: Sequence[Inspected]) -> Iterator[DataFinding]:
        """Yield lines that name nothing, and landmarks that split.csv leaves out.

        seen: the images that are not excluded.
        """
        for one in self.exclusions.unmatched:
            yield self._unmatched(self._exclude, one.line, f"{one.name!r} is no image")
        if self._split is not None:
            yield from self._split_findings(self._split, seen)
        for message in unmatched_taxonomy_lines(self._data):
            yield DataFinding("unmatched", message.split(";", maxsplit=1)[0])

    def _split_findings(self, split: Path, seen: Sequence[Inspected]) -> Iterator[DataFinding]:
        names = ImageNames([*(one.name for one in seen), *self.exclusions.names], self._data)
        hashes = {one.sha256 for one in seen}
        named: set[str] = set()
        for row in self._rows:
            found = names.find(row.name)
            if found is not None:
                named.add(found)
            elif row.entry.sha256 not in hashes:  # training finds a renamed image by its hash
                yield self._unmatched(split, row.line, f"{row.name!r} is no image")
        moved = {row.entry.sha256 for row in self._rows}
        used = {one.image.path for one in seen if one.name in named or one.sha256 in moved}
        for landmark, count in sorted(unnamed_landmarks([o.image for o in seen], used).items()):
            message = f"{landmark}: none of its {count} images is in {split.name}"
            yield DataFinding("not-in-split", message, landmarks=(landmark,))

    def _unmatched(self, path: Path | None, line: int, what: str) -> DataFinding:
        return DataFinding("unmatched", f"{path}: line {line}: {what}")
