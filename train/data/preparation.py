"""The preparation of data: read what is not excluded, split, and search for leaks."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from lmedge.errors import DataError
from lmedge.evaluation import PARTS
from lmedge.evaluation.folders import LabelledImage, parts, scan
from lmedge.evaluation.names import relative_name
from lmedge.exclude import (
    MatchedExclusions,
    check_matched,
    exclude_file_of,
    leave_out,
    match_exclusions,
    read_exclusions,
)
from lmedge.field.origin import bursts_of
from lmedge.harmless import shell_words
from lmedge.similar import ImageFingerprint, Pairs, groups_of, pairs_alike

from ..recipes.sections import DataSettings
from .check import duplicate_findings, size_findings, with_identical
from .findings import DataFinding
from .fold_plan import NEVER, Folding, FoldPlan
from .inspection import Inspected
from .similar import fingerprint_all
from .split import Split, deal_folds, make_folds, make_split
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


class _Leaks:
    """The search for images in two parts: every pair of images is compared once."""

    def __init__(
        self,
        entries: Sequence[ImageEntry],
        fingerprints: Mapping[str, ImageFingerprint],
        options: SplitOptions,
        data: Path,
    ) -> None:
        self._fingerprints, self._options, self._data = fingerprints, options, data
        found = pairs_alike([fingerprints[entry.sha256] for entry in entries], details=True)
        self._alike = [(entries[i].image.path, entries[j].image.path) for i, j in found]

    def settle(self, split: Split, given: set[str] | None) -> Split:
        """Keep like images together if parts other than `given` were cut, and judge the rest.

        given: the parts that the user made; None for all. Raises DataError for a leak that is
        not allowed.
        """
        if given is not None:
            split = _keep_together(split, *self._pairs(split), given)
        _judge(*self._pairs(split), self._options, self._data)
        return split

    def _pairs(self, split: Split) -> tuple[list[Inspected], Pairs]:
        """Return the images of a split, part by part, and the pairs of the same image."""
        seen = [
            Inspected(
                image=entry.image,
                part=part,
                name=relative_name(entry.image.path, self._data),
                sha256=entry.sha256,
                fingerprint=self._fingerprints[entry.sha256],
            )
            for part in PARTS
            for entry in split.parts[part]
        ]
        places = {one.image.path: place for place, one in enumerate(seen)}
        alike = [
            (min(places[one], places[other]), max(places[one], places[other]))
            for one, other in self._alike
            if one in places and other in places
        ]
        return seen, with_identical(seen, alike)


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
    given, skipped, excluded = _admit(data, store, options.exclude, path)
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
    leaks = _Leaks(entries, fingerprints, options, data)
    split = leaks.settle(split, None if path else set(given))
    plan = None
    if folding is not None and networks:
        plan = _plan(split.parts["train"], store, fingerprints, folding.folds, networks, options)
        if plan is None:
            logger.warning("too few different images for folds; parts are held back instead")
            return _prepare(data, store, options, None, cut_anew=cut_anew)
    return PreparedData(split=split, skipped=tuple(skipped), plan=plan)


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
    leaks = _Leaks(entries, fingerprints, options, data)
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
    data: Path, store: ImageStore, exclude: Path | None, split: Path | None = None
) -> tuple[dict[str, list[ImageEntry]], list[str], frozenset[str]]:
    """Read the images of each part; without parts all are "train".

    Returns:
        The images, a line for each unreadable one, and the names of those that are left out.
    """
    listed: dict[str | None, list[LabelledImage]] = {
        part: scan(data, part) for part in parts(data) or (None,)
    }
    images = [image for found in listed.values() for image in found]
    exclusions = _exclusions(data, exclude, images, split)
    found: dict[str, list[ImageEntry]] = {}
    skipped: list[str] = []
    bursts = bursts_of(data)
    for part, all_images in listed.items():
        images = leave_out(all_images, exclusions.found, data)
        where = data if part is None else data / part
        if not images:
            raise DataError(f"{where}: all {len(all_images)} images are excluded; exclude fewer")
        entries, bad = store.admit(images)
        if not entries:
            raise DataError(f"{where}: none of the {len(bad)} images could be read")
        found[part or "train"] = [
            dataclasses.replace(entry, burst=bursts.get(entry.sha256, "")) for entry in entries
        ]
        skipped += bad
    if skipped:
        logger.warning("%d images were skipped because they cannot be read", len(skipped))
    return found, skipped, exclusions.names


def _keep_together(split: Split, seen: list[Inspected], pairs: Pairs, given: set[str]) -> Split:
    """Move images of cut parts to the training part if another part has a like image.

    The cut keeps the near-duplicates of one landmark together. These are of two landmarks.
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


def _judge(seen: list[Inspected], pairs: Pairs, options: SplitOptions, data: Path) -> None:
    """Warn about what the quick checks found. Raises DataError for a leak that is not allowed."""
    found = list(duplicate_findings(seen, pairs))
    leaks = [finding for finding in found if finding.kind == "leak"]
    if leaks and not options.allow_leak:
        raise DataError(
            f"the split leaks: {_count(leaks)} in two parts ({leaks[0].message}); see "
            f"`{shell_words('lmedge', 'data', 'check', data)}`, leave them out with its "
            "--exclude-file, or pass --allow-leak"
        )
    fractions = {"val": options.val_fraction, "test": options.test_fraction}
    sizes = [f for f in size_findings(seen, pairs, fractions) if f.kind == "imbalance"]
    for kind, what in (("leak", "in two parts"), ("two-landmarks", "under two landmarks")):
        group = [finding for finding in found if finding.kind == kind]
        if group:
            logger.warning("%s %s (%s)", _count(group), what, group[0].message)
    for finding in sizes[:1]:
        logger.warning("%d classes far from the median (%s)", len(sizes), finding.message)


def _count(findings: list[DataFinding]) -> str:
    return "1 image is" if len(findings) == 1 else f"{len(findings)} images are"
