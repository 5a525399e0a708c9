"""Findings about single files: unreadable, truncated, misnamed, tiny."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from .completeness import KINDS as FORMATS
from .findings import Finding
from .inspection import Inspected

MIN_SIDE = 112  # pixels: half the default input, so that one becomes more than two each way


def file_findings(seen: Sequence[Inspected], min_side: int = MIN_SIDE) -> Iterator[Finding]:
    """Yield what is wrong with each file, in the order of `seen`."""
    for one in seen:
        about = (one.name,), (one.picture.landmark,)
        if one.problem is not None:
            kind, why = one.problem
            yield Finding(kind, f"{one.name}: {why}", *about, exclude=(one.name,))
        suffix = PurePosixPath(one.name).suffix.lower()
        if one.kind in FORMATS and suffix not in FORMATS[one.kind]:
            yield Finding("wrong-suffix", f"{one.name}: a {one.kind} picture", *about)
        if one.size is not None and min(one.size) < min_side:
            width, height = one.size
            message = f"{one.name}: {width} x {height} pixels, the shorter side below {min_side}"
            yield Finding("tiny", message, *about, exclude=(one.name,))
