"""What a check finds, and what a person does about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

# kind -> (what it is, what to do about it), in the order of the table
KINDS = {
    "unreadable": ("cannot be read", "replace or remove it; training skips it"),
    "truncated": ("stops before its end", "get the file again; the rest is grey to the network"),
    "two-landmarks": (
        "the same picture under two landmarks",
        "keep it where it belongs; the exclude file leaves out every copy",
    ),
    "leak": (
        "the same picture in two parts",
        "remove it from one; the exclude file keeps it in test, else in val",
    ),
    "two-categories": ("a landmark under two categories", "move its pictures into one folder"),
    "similar-names": (
        "landmark names that differ in case, spaces or marks only",
        "if they are one landmark, move the pictures into one folder",
    ),
    "too-small": ("too few different pictures for the split", "add pictures or remove the class"),
    "imbalance": (
        "a class more than 4 times larger or smaller than the median",
        "add pictures to the small ones; macro F1 counts every class alike",
    ),
    "one-source": (
        "a property of the file gives the landmark away",
        "add pictures from elsewhere, or save all pictures in one way",
    ),
    "duplicate": (
        "near-duplicates of one landmark in one part",
        "one is enough; the exclude file keeps the largest",
    ),
    "wrong-suffix": ("its content is not what its name says", "rename it; it is read all the same"),
    "tiny": ("fewer pixels than the network needs", "find a larger picture"),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One problem: its kind, a line for people, and whom it is about.

    names: pictures, relative to DATA. exclude: those of them that go into the exclude file.
    """

    kind: str
    message: str
    names: tuple[str, ...] = ()
    landmarks: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of finding {self.kind!r}")
        if not set(self.exclude) <= set(self.names):
            raise ValueError("what is excluded must be among the pictures named")


def by_kind(findings: Sequence[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    """Yield each kind that occurs with its findings, in the order of KINDS."""
    for kind in KINDS:
        found = [finding for finding in findings if finding.kind == kind]
        if found:
            yield kind, found
