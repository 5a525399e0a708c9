"""Findings about photographs: their kinds, and what to do about each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

IMBALANCE = 4  # times the median
# Pixels: half the default input, so that one pixel becomes at most two each way.
MIN_SIDE = 112
# kind -> (what it is, what to do about it), in the order of the table
KINDS = {
    "unreadable": ("cannot be read", "replace or remove it; training skips it"),
    "truncated": ("stops before its end", "get the file again; training skips it, or sees grey"),
    "two-landmarks": (
        "the same image under two landmarks",
        "keep it where it belongs; the exclude file leaves out every copy",
    ),
    "leak": (
        "the same image in two parts",
        "remove it from one; the exclude file keeps it in test, else in val",
    ),
    "left-out": (
        "files and folders that no command reads",
        "save as JPEG what shows a landmark, move the rest elsewhere",
    ),
    "unmatched": (
        "a line of exclude.txt, split.csv or taxonomy.csv that names nothing",
        "correct or remove the line; training refuses the first two",
    ),
    "not-in-split": (
        "a landmark without an image in split.csv",
        "write the split anew; training does not learn it",
    ),
    "bad-name": ("a name that cannot be a label", "rename the folder; training refuses it"),
    "one-landmark": ("one landmark alone", "add another one; training refuses it"),
    "two-categories": ("a landmark under two categories", "move its images into one folder"),
    "similar-names": (
        "names of landmarks or categories that differ in case, spaces or marks only",
        "if they mean the same, move the images into one folder",
    ),
    "too-small": ("too few different images for the split", "add images or remove the class"),
    "imbalance": (
        f"a class more than {IMBALANCE} times larger or smaller than the median",
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
class DataFinding:
    """One problem.

    Attributes:
        kind: a key of KINDS.
        message: a line for people.
        names: the images, relative to DATA.
        landmarks: the landmarks.
        exclude: those of `names` that go into the exclude file.
    """

    kind: str
    message: str
    _: dataclasses.KW_ONLY
    names: tuple[str, ...] = ()
    landmarks: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of finding {self.kind!r}")
        if not set(self.exclude) <= set(self.names):
            raise ValueError("the excluded images must be among the named ones")


def by_kind(findings: Sequence[DataFinding]) -> Iterator[tuple[str, list[DataFinding]]]:
    """Yield each kind that occurs with its findings, in the order of KINDS."""
    for kind in KINDS:
        found = [finding for finding in findings if finding.kind == kind]
        if found:
            yield kind, found
