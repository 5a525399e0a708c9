"""The whole check: every finding about a folder of photographs, and the images it read."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lmedge import __version__
from lmedge.evaluation.folders import parts, scan

from .exclude import Exclusion, leave_out
from .findings import (
    KINDS,
    DataFinding,
    alike_images,
    by_kind,
    duplicate_findings,
    name_findings,
    size_findings,
    with_identical,
)
from .inspection import SUFFIXES, Inspected, inspect_images
from .sources import Property, properties, source_findings

FORMAT = 1  # of report.json


def file_findings(seen: Sequence[Inspected], min_side: int) -> Iterator[DataFinding]:
    """Yield the findings about single files, in the order of `seen`."""
    for one in seen:
        names, landmarks = (one.name,), (one.image.landmark,)
        about = functools.partial(DataFinding, names=names, landmarks=landmarks)
        if one.problem is not None:
            kind, why = one.problem
            yield about(kind, f"{one.name}: {why}", exclude=names)
        suffix = PurePosixPath(one.name).suffix.lower()
        if one.kind in SUFFIXES and suffix not in SUFFIXES[one.kind]:
            yield about("wrong-suffix", f"{one.name}: a {one.kind} image")
        if one.size is not None and min(one.size) < min_side:
            width, height = one.size
            message = f"{one.name}: {width} x {height} pixels, the shorter side below {min_side}"
            yield about("tiny", message, exclude=names)


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
    exclusions: Sequence[Exclusion] = (),
    ignore: Sequence[str] = (),
    min_side: int,
    fractions: Mapping[str, float],
) -> DataReport:
    """Read every image of `data` once and return the findings, in the order of KINDS.

    Args:
        data: the folder, laid out as for training.
        exclusions: images that are not read.
        ignore: kinds that are not wanted.
        min_side: in pixels; an image with a shorter side below it is tiny.
        fractions: of the "test" and "val" parts that training cuts.

    Raises:
        DataError: for a layout that cannot be read at all.
    """
    listed = []
    for part in parts(data) or (None,):
        found = scan(data, part, one_category_each=False)
        listed += [(part, image) for image in leave_out(found, exclusions, data)]
    seen = inspect_images(listed, data)
    pairs = with_identical(seen, alike_images(seen))
    findings = [
        *file_findings(seen, min_side),
        *duplicate_findings(seen, pairs),
        *name_findings(seen),
        *size_findings(seen, pairs, fractions),
        *source_findings(seen),
    ]
    order = {kind: number for number, kind in enumerate(KINDS)}
    wanted = [finding for finding in findings if finding.kind not in ignore]
    return DataReport(
        data=data,
        seen=tuple(seen),
        excluded=tuple(exclusions),
        findings=tuple(sorted(wanted, key=lambda finding: order[finding.kind])),
        properties=tuple(properties(seen)),
    )
