"""What `lmedge train` and `lmedge data split` do first: exclude, read, split, look for leaks."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path

from lmedge.errors import DataError
from lmedge.evaluation.folders import LabelledImage, parts, scan

from .class_checks import size_findings
from .duplicates import duplicate_findings, same_images
from .exclude import Exclusion, exclude_file_of, leave_out, read_exclusions
from .findings import Finding
from .folds import make_folds
from .inspection import Inspected, relative_name
from .similar import Look, Pairs, groups_of, look_at
from .split import PARTS, Split, make_split
from .split_file import read_split, split_file_of
from .store import Entry, ImageStore

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Wish:
    """How a data set is to be split.

    split, exclude: files, or None for those in the data folder if they are there. Fractions are of
    each landmark's images; `counts` by part go before them where they are above zero.
    """

    seed: int
    val_fraction: float
    test_fraction: float
    split: Path | None = None
    exclude: Path | None = None
    allow_leak: bool = False
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)


def prepare_split(
    data: Path, store: ImageStore, wish: Wish, *, cut_anew: bool = False
) -> tuple[Split, list[str]]:
    """Return the split of the photographs in `data`, and what was skipped as unreadable.

    The split file is used where there is one, unless `cut_anew`. Raises DataError for images that
    cannot be used, and for a split with the same image in two parts unless that is allowed.
    """
    exclusions = _exclusions(data, wish.exclude)
    given, skipped = _admit(data, store, exclusions)
    entries = [entry for found in given.values() for entry in found]
    looks = look_at(entries, store)
    path = None if cut_anew else split_file_of(data, wish.split)
    if path is not None:
        logger.info("the split of %s is used", path)
        split = read_split(path, entries, data, {one.name for one in exclusions})
    else:
        split = make_split(
            given,
            store,
            seed=wish.seed,
            val_fraction=wish.val_fraction,
            test_fraction=wish.test_fraction,
            counts=wish.counts,
            looks=looks,
        )
    return _without_leaks(split, looks, wish, data, None if path else set(given)), skipped


def prepare_folds(data: Path, store: ImageStore, wish: Wish, folds: int) -> list[Split]:
    """Return a split a fold of all photographs in `data`, whatever parts it has.

    `wish.split` and the test part it asks for are not used. Raises DataError as `prepare_split`.
    """
    given, _ = _admit(data, store, _exclusions(data, wish.exclude))
    entries = sorted((e for found in given.values() for e in found), key=lambda entry: entry.order)
    looks = look_at(entries, store)
    made = make_folds(
        entries,
        store,
        looks,
        folds=folds,
        seed=wish.seed,
        val_fraction=wish.val_fraction,
        val_count=wish.counts.get("val", 0),
    )
    return [_without_leaks(split, looks, wish, data, set()) for split in made]


def _exclusions(data: Path, given: Path | None) -> tuple[Exclusion, ...]:
    path = exclude_file_of(data, given)
    if path is None:
        return ()
    exclusions = read_exclusions(path)
    logger.info("%s lists %d images to leave out", path, len(exclusions))
    return exclusions


def _admit(
    data: Path, store: ImageStore, exclusions: tuple[Exclusion, ...]
) -> tuple[dict[str, list[Entry]], list[str]]:
    """Read the images of each part; without parts all are "train"."""
    found: dict[str, list[Entry]] = {}
    skipped: list[str] = []
    for part in parts(data) or (None,):
        listed: list[LabelledImage] = scan(data, part)
        images = leave_out(listed, exclusions, data)
        where = data if part is None else data / part
        if not images:
            raise DataError(f"{where}: all {len(listed)} images are excluded; exclude fewer")
        entries, bad = store.admit(images)
        if not entries:
            raise DataError(f"{where}: none of the {len(bad)} images could be read")
        found[part or "train"] = entries
        skipped += bad
    if skipped:
        logger.warning("%d images were skipped because they cannot be read", len(skipped))
    return found, skipped


def _without_leaks(
    split: Split, looks: Mapping[str, Look], wish: Wish, data: Path, given: set[str] | None
) -> Split:
    """Keep like images together where parts other than `given` were cut; judge what is left."""
    seen, pairs = _compared(split, looks, data)
    if given is not None:
        split = _keep_together(split, seen, pairs, given)
        seen, pairs = _compared(split, looks, data)
    _judge(seen, pairs, wish, data)
    return split


def _compared(split: Split, looks: Mapping[str, Look], data: Path) -> tuple[list[Inspected], Pairs]:
    seen = [
        Inspected(
            entry.image,
            part,
            relative_name(entry.image.path, data),
            entry.sha256,
            look=looks[entry.sha256],
        )
        for part in PARTS
        for entry in split.parts[part]
    ]
    return seen, same_images(seen)


def _keep_together(split: Split, seen: list[Inspected], pairs: Pairs, given: set[str]) -> Split:
    """Move images of parts that were cut to the training part where a like one stands elsewhere.

    The cut keeps the near-duplicates of one landmark together; these are of two landmarks.
    """
    moving: set[Path] = set()
    for group in groups_of(len(seen), pairs):
        if len({seen[index].part for index in group}) > 1:
            cut = [seen[index] for index in group if seen[index].part not in {"train", *given}]
            moving |= {one.image.path for one in cut}
    if not moving:
        return split
    logger.warning(
        "%d images stay in the training part because nearly the same ones are in another part, "
        "%s for one",
        len(moving),
        min(moving),
    )
    moved = [e for part in PARTS[1:] for e in split.parts[part] if e.image.path in moving]
    train = sorted([*split.parts["train"], *moved], key=lambda entry: entry.order)
    rest = {
        part: tuple(e for e in split.parts[part] if e.image.path not in moving)
        for part in PARTS[1:]
    }
    return Split({"train": tuple(train), **rest})


def _judge(seen: list[Inspected], pairs: Pairs, wish: Wish, data: Path) -> None:
    """Say what the quick checks found. Raises DataError for a leak that is not allowed."""
    found = list(duplicate_findings(seen, pairs))
    leaks = [finding for finding in found if finding.kind == "leak"]
    if leaks and not wish.allow_leak:
        raise DataError(
            f"the split leaks: {_count(leaks)} in two parts ({leaks[0].message}); see `lmedge data "
            f"check {data}`, leave them out with its --exclude-file, or pass --allow-leak"
        )
    fractions = {"val": wish.val_fraction, "test": wish.test_fraction}
    sizes = [f for f in size_findings(seen, pairs, fractions) if f.kind == "imbalance"]
    for kind, what in (("leak", "in two parts"), ("two-landmarks", "under two landmarks")):
        group = [finding for finding in found if finding.kind == kind]
        if group:
            logger.warning("%s %s (%s)", _count(group), what, group[0].message)
    for finding in sizes[:1]:
        logger.warning("%d classes far from the median (%s)", len(sizes), finding.message)


def _count(findings: list[Finding]) -> str:
    return "1 image is" if len(findings) == 1 else f"{len(findings)} images are"
