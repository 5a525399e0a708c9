"""What a check finds, and what a person does about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

# kind -> (what it is, what to do about it), in the order of the table
KINDS = {
    "unreadable": ("cannot be read", "replace or remove it; training skips it"),
    "truncated": ("stops before its end", "get the file again; the rest is grey to the network"),
    "two-landmarks": (
        "the same image under two landmarks",
        "keep it where it belongs; the exclude file leaves out every copy",
    ),
    "leak": (
        "the same image in two parts",
        "remove it from one; the exclude file keeps it in test, else in val",
    ),
    "two-categories": ("a landmark under two categories", "move its images into one folder"),
    "similar-names": (
        "landmark names that differ in case, spaces or marks only",
        "if they are one landmark, move the images into one folder",
    ),
    "too-small": ("too few different images for the split", "add images or remove the class"),
    "imbalance": (
        "a class more than 4 times larger or smaller than the median",
        "add images to the small ones; macro F1 counts every class alike",
    ),
    "one-source": (
        "a property of the file gives the landmark away",
        "add images from elsewhere, or save all images in one way",
    ),
    "duplicate": (
        "near-duplicates of one landmark in one part",
        "one is enough; the exclude file keeps the largest",
    ),
    "wrong-suffix": ("its content is not what its name says", "rename it; it is read all the same"),
    "tiny": ("fewer pixels than the network needs", "find a larger image"),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One problem: its kind, a line for people, and whom it is about.

    names: images, relative to DATA. exclude: those of them that go into the exclude file.
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
            raise ValueError("what is excluded must be among the images named")


def by_kind(findings: Sequence[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    """Yield each kind that occurs with its findings, in the order of KINDS."""
    for kind in KINDS:
        found = [finding for finding in findings if finding.kind == kind]
        if found:
            yield kind, found
