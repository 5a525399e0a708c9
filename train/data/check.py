"""The whole check: every finding about a folder of photographs, and what was looked at."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmedge import __version__
from lmedge.dataset_folder import parts, scan

from .class_checks import name_findings, size_findings
from .duplicates import duplicate_findings, same_pictures
from .exclude import Exclusion, leave_out
from .file_checks import file_findings
from .findings import KINDS, Finding, by_kind
from .inspection import Inspected, inspect_pictures
from .sources import Property, properties, source_findings

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Report:
    """What was found in `data`; `seen` are the pictures that are not excluded."""

    data: Path
    seen: tuple[Inspected, ...]
    excluded: tuple[Exclusion, ...]
    findings: tuple[Finding, ...]
    properties: tuple[Property, ...]

    def exclusions(self) -> list[Exclusion]:
        """Return what was excluded before and what the findings say to leave out, by path."""
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
        landmarks = Counter((one.picture.category, one.picture.landmark) for one in self.seen)
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


def _why(finding: Finding, name: str) -> str:
    """Return the message without the picture's own name in front."""
    return finding.message.removeprefix(f"{name}: ")


def check(
    data: Path,
    *,
    exclusions: Sequence[Exclusion] = (),
    ignore: Sequence[str] = (),
    min_side: int,
    fractions: Mapping[str, float],
) -> Report:
    """Look at every picture of `data` once and return the findings, in the order of KINDS.

    ignore: kinds that are not wanted. fractions: of the "test" and "val" parts that training cuts.
    Raises DataError for a layout that cannot be read at all.
    """
    listed = []
    for part in parts(data) or (None,):
        found = scan(data, part, one_category_each=False)
        listed += [(part, picture) for picture in leave_out(found, exclusions, data)]
    seen = inspect_pictures(listed, data)
    pairs = same_pictures(seen)
    findings = [
        *file_findings(seen, min_side),
        *duplicate_findings(seen, pairs),
        *name_findings(seen),
        *size_findings(seen, pairs, fractions),
        *source_findings(seen),
    ]
    order = {kind: number for number, kind in enumerate(KINDS)}
    wanted = [finding for finding in findings if finding.kind not in ignore]
    return Report(
        data,
        tuple(seen),
        tuple(exclusions),
        tuple(sorted(wanted, key=lambda finding: order[finding.kind])),
        tuple(properties(seen)),
    )
