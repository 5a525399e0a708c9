"""The check of a folder of photographs: every finding about files, copies and classes."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lmedge import __version__
from lmedge.evaluation.folders import parts, scan
from lmedge.evaluation.listing import LeftOut
from lmedge.exclude import Exclusion, leave_out
from lmedge.formats import SUFFIXES_OF
from lmedge.similar import Pairs, groups_of, pairs_alike

from .findings import IMBALANCE, KINDS, DataFinding, by_kind
from .inspection import Inspected, inspect_images
from .labels import name_findings
from .lists import BesideData
from .sources import Property, properties, source_findings

FORMAT = 1  # of report.json
_RANK = {"test": 2, "val": 1, "train": 0, None: 0}  # the part that keeps its copy


def file_findings(seen: Sequence[Inspected], min_side: int) -> Iterator[DataFinding]:
    """Yield the findings about single files, in the order of `seen`."""
    for one in seen:
        names, landmarks = (one.name,), (one.image.landmark,)
        about = functools.partial(DataFinding, names=names, landmarks=landmarks)
        if one.problem is not None:
            kind, why = one.problem
            yield about(kind, f"{one.name}: {why}", exclude=names)
        suffix = PurePosixPath(one.name).suffix.lower()
        if suffix not in SUFFIXES_OF.get(one.kind or "", (suffix,)):
            yield about("wrong-suffix", f"{one.name}: a {one.kind} image")
        if one.size is not None and min(one.size) < min_side:
            width, height = one.size
            message = f"{one.name}: {width} x {height} pixels, the shorter side below {min_side}"
            yield about("tiny", message, exclude=names)


def alike_images(seen: Sequence[Inspected]) -> Pairs:
    """Return the pairs (i, j), i < j, of near-duplicate images, by an all-pairs search."""
    usable = [index for index, one in enumerate(seen) if one.fingerprint is not None]
    fingerprints = [one.fingerprint for one in seen if one.fingerprint is not None]
    return [(usable[i], usable[j]) for i, j in pairs_alike(fingerprints, details=True)]


def with_identical(seen: Sequence[Inspected], alike: Pairs) -> Pairs:
    """Return the pairs `alike`, and those of files with the same bytes, sorted."""
    pairs = set(alike)
    first: dict[str, int] = {}
    for index, one in enumerate(seen):
        if one.sha256:  # images of one colour have no details to compare, but may be one file
            known = first.setdefault(one.sha256, index)
            if known != index:
                pairs.add((known, index))
    return sorted(pairs)


def duplicate_findings(seen: Sequence[Inspected], pairs: Pairs) -> Iterator[DataFinding]:
    """Yield the groups of same images: under two landmarks, in two parts, or in one class."""

    def groups(of: Callable[[Inspected, Inspected], bool]) -> Iterator[list[Inspected]]:
        kept = [(i, j) for i, j in pairs if of(seen[i], seen[j])]
        for group in groups_of(len(seen), kept):
            if len(group) > 1:
                yield [seen[index] for index in group]

    for group in groups(lambda a, b: a.image.landmark != b.image.landmark):
        yield _finding("two-landmarks", group, exclude=group)
    for group in groups(lambda a, b: a.part != b.part):
        best = max(_RANK[one.part] for one in group)
        yield _finding("leak", group, exclude=[o for o in group if _RANK[o.part] < best])
    for group in groups(lambda a, b: (a.part, a.image.landmark) == (b.part, b.image.landmark)):
        largest = max(group, key=_worth)
        yield _finding("duplicate", group, exclude=[one for one in group if one is not largest])


def _worth(one: Inspected) -> tuple[bool, int, str]:
    width, height = one.size or (0, 0)
    return one.problem is None, width * height, one.name


def _finding(kind: str, group: list[Inspected], exclude: list[Inspected]) -> DataFinding:
    landmarks = sorted({one.image.landmark for one in group})
    where = {"two-landmarks": " and ".join(landmarks), "leak": _parts(group)}.get(
        kind, landmarks[0]
    )
    identical = len({one.sha256 for one in group}) == 1
    what = f"the same file {len(group)} times" if identical else f"{len(group)} near-duplicates"
    names = tuple(one.name for one in group)
    message = f"{where}: {what}: {', '.join(names)}"
    return DataFinding(
        kind,
        message,
        names=names,
        landmarks=tuple(landmarks),
        exclude=tuple(one.name for one in exclude),
    )


def _parts(group: list[Inspected]) -> str:
    return " and ".join(
        sorted({one.part or "" for one in group}, key=lambda part: _RANK.get(part, 0))
    )


def size_findings(
    seen: Sequence[Inspected], pairs: Pairs, fractions: Mapping[str, float]
) -> Iterator[DataFinding]:
    """Yield classes that are too small for the split, and classes far from the median.

    fractions: of the parts "val" and "test" that are cut if they are not given. Near-duplicates
    stay on one side and so count as one image.
    """
    given = {one.part for one in seen if one.part is not None}
    cut = _parts_to_cut(given, fractions)
    different = _count_different(seen, pairs)
    landmarks = sorted({one.image.landmark for one in seen})
    training = {name: different[name, "train" if given else None] for name in landmarks}
    for name, count in training.items():
        needed = 1 + len(cut)
        if count < needed:
            parts = " and ".join(["training", *cut])
            yield _too_small(f"{name}: {count} different images for {parts}", name)
        for part in sorted(given - {"train"}):
            if count and not different[name, part]:
                yield _too_small(f"{name}: no image in the {part} part", name)
    yield from _imbalance(training)


def _parts_to_cut(given: set[str], fractions: Mapping[str, float]) -> list[str]:
    """Return the parts that `make_split` cuts."""
    cut = [part for part, share in fractions.items() if part not in given and share > 0]
    return [part for part in cut if part != "test" or not given & {"val", "test"}]


def _count_different(seen: Sequence[Inspected], pairs: Pairs) -> Counter[tuple[str, str | None]]:
    places = [(one.image.landmark, one.part) for one in seen]
    inside = [(i, j) for i, j in pairs if places[i] == places[j]]
    counts: Counter[tuple[str, str | None]] = Counter()
    for group in groups_of(len(seen), inside):
        if any(seen[index].usable for index in group):
            counts[places[group[0]]] += 1
    return counts


def _too_small(message: str, landmark: str) -> DataFinding:
    return DataFinding("too-small", message, landmarks=(landmark,))


def _imbalance(training: Mapping[str, int]) -> Iterator[DataFinding]:
    median = statistics.median(training.values()) if training else 0
    for name, count in training.items():
        if count > IMBALANCE * median or 0 < count < median / IMBALANCE:
            message = f"{name}: {count} images, the median is {median:g}"
            yield DataFinding("imbalance", message, landmarks=(name,))


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataReport:
    """The findings about `data`. `seen` are the images that are not excluded."""

    data: Path
    seen: tuple[Inspected, ...]
    excluded: tuple[Exclusion, ...]
    findings: tuple[DataFinding, ...]
    properties: tuple[Property, ...]

    def exclusions(self) -> list[Exclusion]:
        """Return the earlier exclusions and those that the findings add, by path."""
        hashes = {one.name: one.sha256 for one in self.seen}
        reasons: dict[str, list[str]] = {}
        for finding in self.findings:
            for name in finding.exclude:
                reasons.setdefault(name, []).append(f"{finding.kind}: {_why(finding, name)}")
        listed = {one.name: one for one in self.excluded}
        for name, why in reasons.items():
            listed[name] = Exclusion(name, hashes[name], "; ".join(why))
        return sorted(listed.values(), key=lambda one: one.name)

    def as_dict(self) -> dict[str, Any]:
        """Return report.json; docs/formats.md describes it."""
        landmarks = Counter((one.image.category, one.image.landmark) for one in self.seen)
        return {
            "format": FORMAT,
            "lmedge": __version__,
            "pictures": len(self.seen),
            "readable": sum(one.usable for one in self.seen),
            "excluded": len(self.excluded),
            "parts": Counter(one.part for one in self.seen if one.part is not None),
            "landmarks": [
                {"category": category, "landmark": landmark, "pictures": count}
                for (category, landmark), count in sorted(landmarks.items())
            ],
            "properties": [dataclasses.asdict(one) for one in self.properties],
            "kinds": {kind: len(found) for kind, found in by_kind(self.findings)},
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
        }


def _why(finding: DataFinding, name: str) -> str:
    """Return the message without the image's own name in front."""
    return finding.message.removeprefix(f"{name}: ")


def check_data(
    data: Path,
    *,
    exclude: Path | None = None,
    ignore: Sequence[str] = (),
    min_side: int,
    fractions: Mapping[str, float],
) -> DataReport:
    """Read every image of `data` once and return the findings, in the order of KINDS.

    Args:
        data: the folder, laid out as for training.
        exclude: a list of images that are not read.
        ignore: kinds that are not wanted.
        min_side: in pixels; an image with a shorter side below it is tiny.
        fractions: of the "test" and "val" parts that training cuts.

    Raises:
        DataError: for a layout that cannot be read at all.
    """
    not_read = LeftOut()
    found = {
        part: scan(data, part, check_labels=False, left=not_read) for part in parts(data) or (None,)
    }
    images = [image for listed in found.values() for image in listed]
    lists = BesideData(data, exclude, images)
    left = [
        (part, image)
        for part, listed in found.items()
        for image in leave_out(listed, lists.exclusions.found, data)
    ]
    not_read.report_expected()
    seen = inspect_images(left, data)
    pairs = with_identical(seen, alike_images(seen))
    findings = [
        *file_findings(seen, min_side),
        *duplicate_findings(seen, pairs),
        *name_findings(seen),
        *lists.findings(seen),
        *(DataFinding("left-out", line) for line in not_read.lines()),
        *size_findings(seen, pairs, fractions),
        *source_findings(seen),
    ]
    order = {kind: number for number, kind in enumerate(KINDS)}
    wanted = [finding for finding in findings if finding.kind not in ignore]
    return DataReport(
        data=data,
        seen=tuple(seen),
        excluded=lists.written,
        findings=tuple(sorted(wanted, key=lambda finding: order[finding.kind])),
        properties=tuple(properties(seen)),
    )
