"""The split into training, validation and test part: seeded, stratified, without leaks."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmedge.errors import DataError, RunError
from lmedge.evaluation import PARTS
from lmedge.evaluation.folders import LabelledImage
from lmedge.harmless import csv_cell, csv_text
from lmedge.similar import ImageFingerprint
from lmedge.taxonomy import Taxonomy
from lmedge.text_files import nfc, table_lines

from .similar import near_duplicates
from .store import ImageEntry, ImageStore

logger = logging.getLogger(__name__)
_COLUMNS = ("part", "category", "landmark", "sha256", "path")


@dataclasses.dataclass(frozen=True)
class Split:
    """The parts of a data set; each is a tuple of entries in a stable order."""

    parts: Mapping[str, tuple[ImageEntry, ...]]

    def taxonomy(self) -> Taxonomy:
        """Return the labels that occur in any part."""
        return Taxonomy.from_pairs(
            (entry.image.category, entry.image.landmark)
            for part in PARTS
            for entry in self.parts[part]
        )

    def digest(self) -> str:
        """SHA-256 over part, labels and file hashes: the same for the same data and split."""
        lines = sorted(
            f"{part}\t{entry.image.category}\t{entry.image.landmark}\t{entry.sha256}"
            for part in PARTS
            for entry in self.parts[part]
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def as_csv(self) -> str:
        """Return the text of split.csv."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for part in PARTS:
            for entry in self.parts[part]:
                image = entry.image
                row = (part, image.category, image.landmark, entry.sha256, str(image.path))
                writer.writerow(map(csv_cell, row))
        return stream.getvalue()

    @classmethod
    def from_csv(cls, text: str, name: str) -> Split:
        """Read the text of split.csv; `name` is used in errors. Raises RunError."""
        parts: dict[str, list[ImageEntry]] = {part: [] for part in PARTS}
        for row in split_rows(text, name):
            parts[row.part].append(row.entry)
        return cls({part: tuple(entries) for part, entries in parts.items()})


@dataclasses.dataclass(frozen=True)
class SplitRow:
    """A row of split.csv, and the number of its line."""

    line: int
    part: str
    entry: ImageEntry

    @property
    def name(self) -> str:
        """The path as it stands there, with forward slashes on Windows too."""
        return self.entry.image.path.as_posix()


def split_rows(text: str, name: str) -> Iterator[SplitRow]:
    """Yield the rows of split.csv; `name` is used in errors. Raises RunError."""
    try:
        header, *lines = table_lines(text, _COLUMNS)
        titles = [cell.strip() for cell in header.cells]
        places = {column: titles.index(column) for column in _COLUMNS}
    except ValueError as error:
        raise RunError(f"{name}: not a table of {','.join(_COLUMNS)} ({error})") from error
    for line in lines:
        try:
            row = {column: csv_text(line.cells[place]) for column, place in places.items()}
            if row["part"] not in PARTS:
                raise IndexError
        except IndexError:
            raise RunError(f"{name}: line {line.number} is not part of a split") from None
        image = LabelledImage(Path(row["path"]), nfc(row["landmark"]), nfc(row["category"]))
        yield SplitRow(line.number, row["part"], ImageEntry(image, row["sha256"].strip().lower()))


def label_indices(
    entries: Iterable[ImageEntry], taxonomy: Taxonomy
) -> dict[str, npt.NDArray[np.int64]]:
    """Return the indices of each head's labels, (N,) each."""
    names = [entry.image.landmark for entry in entries]
    landmark = np.array([taxonomy.landmarks.index(name) for name in names], np.int64)
    return {"landmark": landmark, "category": taxonomy.parent_index[landmark].astype(np.int64)}


def make_split(
    given: Mapping[str, Sequence[ImageEntry]],
    store: ImageStore,
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    counts: Mapping[str, int] | None = None,
    fingerprints: Mapping[str, ImageFingerprint] | None = None,
) -> Split:
    """Use the parts that are given and cut the missing ones from "train".

    A part that is absent and has a fraction above zero is cut from the training part of each
    landmark. Near-duplicates of one landmark stay on one side.

    Args:
        given: entries by part, "train" at least.
        store: the decoded images.
        val_fraction: the validation part's share of each landmark's images.
        test_fraction: the test part's share.
        seed: of the cut.
        counts: images of each landmark by part; above zero they replace the fraction.
        fingerprints: of the images by SHA-256, if they are known.

    Raises:
        DataError: if a landmark has too few images.
    """
    shares = {"test": test_fraction, "val": val_fraction}
    wanted = {part: share for part, share in shares.items() if part not in given}
    fixed = counts or {}
    if "val" in given or "test" in given:
        wanted.pop("test", None)  # who brings a part of their own decides about the test part
    parts: dict[str, list[ImageEntry]] = {part: list(given.get(part, ())) for part in PARTS}
    by_landmark = defaultdict(list)
    for entry in parts.pop("train"):
        by_landmark[entry.image.landmark].append(entry)
    _check_counts(by_landmark, parts)
    train: list[ImageEntry] = []
    for landmark, entries in sorted(by_landmark.items()):
        rng = np.random.default_rng([seed, *landmark.encode()])
        groups = near_duplicates(entries, store, fingerprints)
        rng.shuffle(groups)
        for part, share in wanted.items():
            count = max(1, round(len(entries) * share)) if share > 0 else 0
            parts[part] += _take(groups, fixed.get(part, 0) or count, landmark, part)
        train += [entry for group in groups for entry in group]
    parts["train"] = train
    return Split(
        {part: tuple(sorted(parts[part], key=lambda entry: entry.order)) for part in PARTS}
    )


def _take(groups: list[list[ImageEntry]], count: int, landmark: str, part: str) -> list[ImageEntry]:
    """Take groups from the end until `count` images are taken; one group always stays."""
    taken: list[ImageEntry] = []
    while len(groups) > 1 and len(taken) < count:
        taken += groups.pop()
    if not taken and count:
        logger.warning("%s: too few different images for the %s part", landmark, part)
    return taken


def _check_counts(
    train: Mapping[str, Sequence[ImageEntry]], parts: Mapping[str, Sequence[ImageEntry]]
) -> None:
    needed = 1 if parts.get("val") else 2
    for landmark, entries in sorted(train.items()):
        if len(entries) < needed:
            folder = entries[0].image.path.parent
            raise DataError(
                f"landmark {landmark!r} has {len(entries)} image that can be read in {folder}; "
                f"add at least {needed - len(entries)} more, or remove the folder"
            )
    check_trained([entry for entries in train.values() for entry in entries], parts)


def check_listed(listed: Mapping[str, Sequence[LabelledImage]]) -> None:
    """Raise DataError for what names alone give reason for, before an image is read.

    listed: images by part, "train" at least, of which the missing parts are to be cut.
    """
    parts = {part: [ImageEntry(image, "") for image in images] for part, images in listed.items()}
    by_landmark = defaultdict(list)
    for entry in parts["train"]:
        by_landmark[entry.image.landmark].append(entry)
    _check_counts(by_landmark, {part: own for part, own in parts.items() if part != "train"})
    Taxonomy.from_pairs(
        (entry.image.category, entry.image.landmark) for own in parts.values() for entry in own
    )


def check_trained(train: Iterable[ImageEntry], parts: Mapping[str, Sequence[ImageEntry]]) -> None:
    """Raise DataError when a part shows a landmark that is not trained on."""
    trained = {entry.image.landmark for entry in train}
    for part, entries in parts.items():
        unknown = {entry.image.landmark for entry in entries} - trained
        if unknown:
            raise DataError(
                f"the {part} part shows {sorted(unknown)[0]!r}, which the training part does not; "
                "add images of it to the training part or remove it"
            )


def make_folds(
    entries: Sequence[ImageEntry],
    store: ImageStore,
    fingerprints: Mapping[str, ImageFingerprint],
    *,
    folds: int,
    seed: int,
    val_fraction: float,
    val_count: int = 0,
) -> list[Split]:
    """Return one split for each fold: the fold is its test part, the rest is cut into the others.

    Stratified by landmark; near-duplicates of one landmark are in one fold. A landmark without two
    different images is trained on in every fold and tested in none. The test parts depend on
    `folds` and `seed` alone, not on the validation part.
    """
    tested = deal_folds(entries, store, fingerprints, folds=folds, seed=seed)
    splits = []
    for fold in tested:
        inside = set(fold)
        splits.append(
            make_split(
                {"train": [entry for entry in entries if entry not in inside], "test": fold},
                store,
                val_fraction=val_fraction,
                test_fraction=0.0,
                counts={"val": val_count},
                seed=seed,
                fingerprints=fingerprints,
            )
        )
    return splits


def deal_folds(
    entries: Sequence[ImageEntry],
    store: ImageStore,
    fingerprints: Mapping[str, ImageFingerprint],
    *,
    folds: int,
    seed: int,
) -> list[list[ImageEntry]]:
    """Deal the images into folds, stratified by landmark; near-duplicates are in one fold.

    A landmark without two different images is in none.
    """
    by_landmark = defaultdict(list)
    for entry in entries:
        by_landmark[entry.image.landmark].append(entry)
    dealt: list[list[ImageEntry]] = [[] for _ in range(folds)]
    for landmark, own in sorted(by_landmark.items()):
        groups = near_duplicates(own, store, fingerprints)
        if len(groups) < 2:
            logger.warning("%s: too few different images to be tested", landmark)
            continue
        rng = np.random.default_rng([seed, *landmark.encode()])
        rng.shuffle(groups)
        _deal(sorted(groups, key=len, reverse=True), dealt)
    return dealt


def _deal(groups: Sequence[Sequence[ImageEntry]], tested: Sequence[list[ImageEntry]]) -> None:
    """Put each group into the fold with the fewest images of this landmark, then of all."""
    own = [0] * len(tested)
    for group in groups:
        place = min(range(len(tested)), key=lambda fold: (own[fold], len(tested[fold]), fold))
        tested[place] += group
        own[place] += len(group)
