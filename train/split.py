"""Which picture is trained on, which validates, which tests: seeded, stratified, without leaks."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.sparse.csgraph import connected_components

from lmedge.dataset_folder import LabelledPicture
from lmedge.errors import DataError, RunError
from lmedge.image import Picture
from lmedge.taxonomy import Taxonomy

from .pictures import Entry, PictureStore

PARTS = ("train", "val", "test")
MAX_HASH_DISTANCE = 8  # of 64 bits
MIN_CORRELATION = 0.93  # of 16 x 16 grey thumbnails: what the hash suggests must look alike
_COLUMNS = ("part", "category", "landmark", "sha256", "path")
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Split:
    """The parts of a data set; each is a tuple of entries in a stable order."""

    parts: Mapping[str, tuple[Entry, ...]]

    def taxonomy(self) -> Taxonomy:
        """Return the labels that occur in any part."""
        return Taxonomy.from_pairs(
            (entry.picture.category, entry.picture.landmark)
            for part in PARTS
            for entry in self.parts[part]
        )

    def digest(self) -> str:
        """SHA-256 over part, labels and file hashes: the same for the same data and split."""
        lines = sorted(
            f"{part}\t{entry.picture.category}\t{entry.picture.landmark}\t{entry.sha256}"
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
                picture = entry.picture
                row = (part, picture.category, picture.landmark, entry.sha256, str(picture.path))
                writer.writerow(row)
        return stream.getvalue()

    @classmethod
    def from_csv(cls, text: str, name: str) -> Split:
        """Read the text of split.csv; `name` is used in errors. Raises RunError."""
        parts: dict[str, list[Entry]] = {part: [] for part in PARTS}
        reader = csv.DictReader(io.StringIO(text))
        try:
            for row in reader:
                picture = LabelledPicture(Path(row["path"]), row["landmark"], row["category"])
                parts[row["part"]].append(Entry(picture, row["sha256"]))
        except (KeyError, TypeError) as error:
            raise RunError(f"{name}: line {reader.line_num} is not part of a split") from error
        return cls({part: tuple(entries) for part, entries in parts.items()})


def labels(entries: Iterable[Entry], taxonomy: Taxonomy) -> dict[str, npt.NDArray[np.int64]]:
    """Return the indices of each head's labels, (N,) each."""
    names = [entry.picture.landmark for entry in entries]
    landmark = np.array([taxonomy.landmarks.index(name) for name in names], np.int64)
    return {"landmark": landmark, "category": taxonomy.parent_index[landmark].astype(np.int64)}


def make_split(
    given: Mapping[str, Sequence[Entry]],
    store: PictureStore,
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
) -> Split:
    """Use the parts that are given and cut the missing ones from "train".

    given: entries by part, "train" at least; a part that is absent and whose fraction is above
    zero is cut from the training part of each landmark. Near-duplicates of one landmark stay on
    one side. Raises DataError when a landmark has too few pictures.
    """
    shares = {"test": test_fraction, "val": val_fraction}
    wanted = {part: share for part, share in shares.items() if part not in given}
    if "val" in given or "test" in given:
        wanted.pop("test", None)  # who brings a part of their own decides about the test part
    parts: dict[str, list[Entry]] = {part: list(given.get(part, ())) for part in PARTS}
    by_landmark = defaultdict(list)
    for entry in parts.pop("train"):
        by_landmark[entry.picture.landmark].append(entry)
    _check_counts(by_landmark, parts)
    train: list[Entry] = []
    for landmark, entries in sorted(by_landmark.items()):
        rng = np.random.default_rng([seed, *landmark.encode()])
        groups = near_duplicates(entries, store)
        rng.shuffle(groups)
        for part, share in wanted.items():
            count = max(1, round(len(entries) * share)) if share > 0 else 0
            parts[part] += _take(groups, count, landmark, part)
        train += [entry for group in groups for entry in group]
    parts["train"] = train
    return Split({part: tuple(sorted(parts[part], key=_by_name)) for part in PARTS})


def _by_name(entry: Entry) -> tuple[str, str, str]:
    return entry.picture.category, entry.picture.landmark, str(entry.picture.path)


def _take(groups: list[list[Entry]], count: int, landmark: str, part: str) -> list[Entry]:
    """Take groups from the end until `count` pictures are taken; one group always stays."""
    taken: list[Entry] = []
    while len(groups) > 1 and len(taken) < count:
        taken += groups.pop()
    if not taken and count:
        logger.warning("%s: too few different pictures for the %s part", landmark, part)
    return taken


def _check_counts(
    train: Mapping[str, Sequence[Entry]], parts: Mapping[str, Sequence[Entry]]
) -> None:
    needed = 1 if parts.get("val") else 2
    for landmark, entries in sorted(train.items()):
        if len(entries) < needed:
            folder = entries[0].picture.path.parent
            raise DataError(
                f"landmark {landmark!r} has {len(entries)} picture that can be read in {folder}; "
                f"add at least {needed - len(entries)} more, or remove the folder"
            )
    for part, entries in parts.items():
        unknown = {entry.picture.landmark for entry in entries} - set(train)
        if unknown:
            raise DataError(
                f"the {part} part shows {sorted(unknown)[0]!r}, which the training part does not; "
                "add pictures of it to the training part or remove it"
            )


def near_duplicates(entries: Sequence[Entry], store: PictureStore) -> list[list[Entry]]:
    """Group the entries: the same photograph, or nearly, in one group. Order is stable.

    Two pictures belong together when their 64-bit perceptual hashes (or that of a mirror image)
    differ in at most MAX_HASH_DISTANCE bits and their thumbnails correlate.
    """
    pictures = [store.prepared(entry) for entry in entries]
    plain = [_look(picture) for picture in pictures]
    mirrored = [_look(np.ascontiguousarray(picture[:, ::-1])) for picture in pictures]
    alike = _alike(plain, plain) | _alike(plain, mirrored)
    _, groups = connected_components(alike, directed=False)
    return [
        [entry for entry, group in zip(entries, groups, strict=True) if group == number]
        for number in range(groups.max() + 1)
    ]


@dataclasses.dataclass(frozen=True)
class _Look:
    """A picture's perceptual hash as 64 signs, and its grey thumbnail as a unit vector."""

    signs: npt.NDArray[np.float32]
    thumbnail: npt.NDArray[np.float32]


def _look(picture: Picture) -> _Look:
    image = Image.fromarray(picture)
    signs = np.where(imagehash.phash(image).hash.ravel(), 1, -1).astype(np.float32)
    grey = np.asarray(image.convert("L").resize((16, 16), Image.Resampling.BOX), np.float32).ravel()
    grey = grey - grey.mean()
    return _Look(signs, grey / max(float(np.linalg.norm(grey)), 1e-9))


def _alike(left: Sequence[_Look], right: Sequence[_Look]) -> npt.NDArray[np.bool_]:
    signs = [np.stack([look.signs for look in looks]) for looks in (left, right)]
    thumbnails = [np.stack([look.thumbnail for look in looks]) for looks in (left, right)]
    distance = (64 - signs[0] @ signs[1].T) / 2
    close: npt.NDArray[np.bool_] = distance <= MAX_HASH_DISTANCE
    return close & (thumbnails[0] @ thumbnails[1].T >= MIN_CORRELATION)
