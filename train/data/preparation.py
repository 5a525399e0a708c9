"""The preparation of data: read what is not excluded, split, and search for leaks."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from lmedge.errors import DataError
from lmedge.evaluation.folders import LabelledImage, parts, scan
from lmedge.exclude import (
    MatchedExclusions,
    check_matched,
    exclude_file_of,
    leave_out,
    match_exclusions,
    read_exclusions,
)
from lmedge.field.origin import bursts_of
from lmedge.similar import ImageFingerprint
from lmedge.taxonomy import counted

from ..cluster.facts import compare_workers, listing_facts
from ..recipes.sections import DataSettings
from .fold_plan import NEVER, Folding, FoldPlan
from .leaks import Leaks
from .similar import fingerprint_all
from .split import Split, check_listed, deal_folds, make_folds, make_split
from .split_file import read_split, read_split_rows, split_file_of
from .store import ImageEntry, ImageStore

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """The way a data set is split.

    Attributes:
        seed: the seed of the cut.
        val_fraction, test_fraction: of each landmark's images.
        counts: images of each landmark by part; above zero they replace the fraction.
        split, exclude: files, or None for those in the data folder if they are there.
        allow_leak: if true, an image in two parts is no error.
    """

    seed: int
    val_fraction: float
    test_fraction: float
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    split: Path | None = None
    exclude: Path | None = None
    allow_leak: bool = False

    @classmethod
    def of_recipe(
        cls,
        settings: DataSettings,
        *,
        seed: int,
        split: Path | None = None,
        exclude: Path | None = None,
        allow_leak: bool = False,
    ) -> SplitOptions:
        """Return the options with the fractions and counts of a recipe."""
        return cls(
            seed=seed,
            val_fraction=settings.val_fraction,
            test_fraction=settings.test_fraction,
            counts={"val": settings.val_count, "test": settings.test_count},
            split=split,
            exclude=exclude,
            allow_leak=allow_leak,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedData:
    """The images of a training.

    `skipped` has a line for each unreadable image. `plan` is None if images are held back.
    """

    split: Split
    skipped: tuple[str, ...]
    plan: FoldPlan | None = None


def prepare_training(
    data: Path, store: ImageStore, options: SplitOptions, folding: Folding
) -> PreparedData:
    """Return the images of a training, and their folds if it is cross-fitted.

    A split file is used if there is one. A validation part of the user's own chooses and measures,
    so that there are no folds. Raises DataError as `prepare_split` does.
    """
    return _prepare(data, store, options, folding, cut_anew=False)


def prepare_split(
    data: Path, store: ImageStore, options: SplitOptions, *, cut_anew: bool = False
) -> tuple[Split, list[str]]:
    """Return the split of the photographs in `data`, and a line for each unreadable image.

    A split file is used if there is one, unless `cut_anew`.

    Raises:
        DataError: for images that cannot be used, and for a split with the same image in two
            parts unless that is allowed.
    """
    prepared = _prepare(data, store, options, None, cut_anew=cut_anew)
    return prepared.split, list(prepared.skipped)


def _prepare(
    data: Path,
    store: ImageStore,
    options: SplitOptions,
    folding: Folding | None,
    *,
    cut_anew: bool,
) -> PreparedData:
    path = None if cut_anew else split_file_of(data, options.split)
    given, skipped, excluded = _admit(data, store, options.exclude, path, cut=path is None)
    entries = [entry for found in given.values() for entry in found]
    fingerprints = fingerprint_all(entries, store)
    if path is not None:
        logger.info("the split of %s is used", path)
        split = read_split(path, entries, data, excluded)
        networks = _networks(folding, split.parts["train"], split.parts["val"])
    else:
        networks = _networks(folding, given["train"], given.get("val", ()))
        split = make_split(
            given,
            store,
            seed=options.seed,
            val_fraction=0.0 if networks else options.val_fraction,
            test_fraction=0.0 if networks else options.test_fraction,
            counts={} if networks else options.counts,
            fingerprints=fingerprints,
        )
    split.taxonomy()  # whose rules a split that is written must keep too
    leaks = _leaks(entries, fingerprints, options, data)
    split = leaks.settle(split, None if path else set(given))
    plan = None
    if folding is not None and networks:
        plan = _plan(split.parts["train"], store, fingerprints, folding.folds, networks, options)
        if plan is None:
            logger.warning("too few different images for folds; parts are held back instead")
            return _prepare(data, store, options, None, cut_anew=cut_anew)
    return PreparedData(split=split, skipped=tuple(skipped), plan=plan)


def _leaks(
    entries: Sequence[ImageEntry],
    fingerprints: Mapping[str, ImageFingerprint],
    options: SplitOptions,
    data: Path,
) -> Leaks:
    fractions = {"val": options.val_fraction, "test": options.test_fraction}
    return Leaks(entries, fingerprints, data, allowed=options.allow_leak, fractions=fractions)


def _networks(
    folding: Folding | None, train: Sequence[ImageEntry], val: Sequence[ImageEntry]
) -> int:
    return 0 if folding is None or val else folding.networks(len(train))


def _plan(
    train: Sequence[ImageEntry],
    store: ImageStore,
    fingerprints: Mapping[str, ImageFingerprint],
    folds: int,
    networks: int,
    options: SplitOptions,
) -> FoldPlan | None:
    """Deal the images into folds and leave out those that stay empty; None if fewer than two."""
    dealt = deal_folds(train, store, fingerprints, folds=folds, seed=options.seed)
    places = {entry: fold for fold, entries in enumerate(dealt) for entry in entries}
    assigned = tuple(places.get(entry, NEVER) for entry in train)
    filled = max(assigned, default=NEVER) + 1
    if filled < 2:
        return None
    return FoldPlan(assigned=assigned, folds=filled, networks=min(networks, filled))


def prepare_folds(data: Path, store: ImageStore, options: SplitOptions, folds: int) -> list[Split]:
    """Return a split for each fold of all photographs in `data`, whatever parts it has.

    `options.split`, the test fraction and the test count are not used. Raises DataError as
    `prepare_split` does.
    """
    given, _, _ = _admit(data, store, options.exclude)
    entries = sorted((e for found in given.values() for e in found), key=lambda entry: entry.order)
    fingerprints = fingerprint_all(entries, store)
    made = make_folds(
        entries,
        store,
        fingerprints,
        folds=folds,
        seed=options.seed,
        val_fraction=options.val_fraction,
        val_count=options.counts.get("val", 0),
    )
    leaks = _leaks(entries, fingerprints, options, data)
    return [leaks.settle(split, set()) for split in made]


def _exclusions(
    data: Path, given: Path | None, images: Sequence[LabelledImage], split: Path | None
) -> MatchedExclusions:
    path = exclude_file_of(data, given)
    if path is None:
        return MatchedExclusions()
    named = [] if split is None else [row.name for row in read_split_rows(split)]
    exclusions = match_exclusions(read_exclusions(path), images, data, named)
    check_matched(path, exclusions)
    logger.info("%s lists %d images to leave out", path, len(exclusions.found))
    return exclusions


def _admit(
    data: Path,
    store: ImageStore,
    exclude: Path | None,
    split: Path | None = None,
    *,
    cut: bool = False,
) -> tuple[dict[str, list[ImageEntry]], list[str], frozenset[str]]:
    """Read the images of each part; without parts all are "train".

    What the lists and the names alone give reason for is raised before an image is read.

    Args:
        data: the folder.
        store: takes the decoded images.
        exclude: the list of images to leave out, None for that in `data` if it is there.
        split: the split file that is used.
        cut: if true, the parts that are missing are cut by landmark.

    Returns:
        The images, a line for each unreadable one, and the names of those that are left out.
    """
    if split is not None:
        read_split_rows(split)
    listed: dict[str | None, list[LabelledImage]] = {
        part: scan(data, part) for part in parts(data) or (None,)
    }
    images = [image for found in listed.values() for image in found]
    compare_workers(listing_facts(images))
    exclusions = _exclusions(data, exclude, images, split)
    kept: dict[str | None, list[LabelledImage]] = {}
    for part, all_images in listed.items():
        kept[part] = leave_out(all_images, exclusions.found, data)
        if not kept[part]:
            where = data if part is None else data / part
            raise DataError(f"{where}: all {len(all_images)} images are excluded; exclude fewer")
    if cut:
        check_listed({part or "train": images for part, images in kept.items()})
    found: dict[str, list[ImageEntry]] = {}
    skipped: list[str] = []
    bursts = bursts_of(data)
    for part, images in kept.items():
        where = data if part is None else data / part
        entries, bad = store.admit(images)
        if not entries:
            raise DataError(f"{where}: none of the {len(bad)} images could be read")
        found[part or "train"] = [
            dataclasses.replace(entry, burst=bursts.get(entry.sha256, "")) for entry in entries
        ]
        skipped += bad
    if skipped:
        left = counted(len(skipped), "image was", "images were")
        logger.warning("%s skipped, not readable", left)
    return found, skipped, exclusions.names
