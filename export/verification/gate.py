"""The gate, which refuses a file that lost more than it may."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from lmedge.evaluation.intervals import paired_interval, undetected_share
from lmedge.model_file import HEADS

from .comparison import FileComparison, Probabilities

ROUNDING = 1e-9  # 1.00 - 0.99 is more than 0.01 in binary
WORST = 5  # classes named
ENOUGH = 10  # images of a class before it is judged alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """The loss that is allowed: macro F1 of a head, and recall of one class; both in 0..1."""

    tolerance: float = 0.005
    class_tolerance: float = 0.20


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassChange:
    """Recall of one class, 0..1, before and after, and its number of images."""

    name: str
    pictures: int
    float_recall: float
    file_recall: float

    @property
    def fall(self) -> float:
        """The recall that was lost; below zero if it rose."""
        return self.float_recall - self.file_recall


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadChange:
    """One head of the file against float on the same images; all shares in 0..1.

    `low` and `high` are the 95 % interval of `difference`, macro F1 of the file less that of float.
    `changed` counts the images whose prediction changed. `worst` are the classes that lost most.
    """

    head: str
    pictures: int
    float_f1: float
    file_f1: float
    difference: float
    low: float
    high: float
    float_accuracy: float
    file_accuracy: float
    changed: int
    worst: tuple[ClassChange, ...]

    def describe(self) -> str:
        """Return what these images show, and what they cannot show, as one line."""
        if not self.changed:
            return (
                f"{self.head}: no prediction changed; with {self.pictures} images, a change of up "
                f"to {100 * undetected_share(self.pictures):.1f} % of predictions can go unseen "
                "(95 %)"
            )
        lost = [change for change in self.worst if change.fall > 0]
        names = ", ".join(f"{c.name} {100 * c.fall:.0f} ({c.pictures} images)" for c in lost[:3])
        return (
            f"{self.head}: {self.changed} of {self.pictures} predictions changed, macro F1 by "
            f"{100 * self.difference:+.1f} points, 95 % interval {100 * self.low:+.1f} to "
            f"{100 * self.high:+.1f}" + (f"; points of recall lost: {names}" if names else "")
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """The judgement of the gate; `problems` is empty if the file may be shipped."""

    tolerance: float
    class_tolerance: float
    problems: tuple[str, ...]
    changes: tuple[HeadChange, ...] = ()

    @property
    def passed(self) -> bool:
        """True if there are no problems."""
        return not self.problems


def gate(comparison: FileComparison | None, file: Probabilities | None, limits: Limits) -> Verdict:
    """Judge a file by its outputs for the validation part.

    A file is refused if, in either head, the whole 95 % interval of the change lies below the
    tolerance. It is refused if a class of at least ENOUGH images lost too much, or if an output is
    not finite, never changes, or is that of the other head.
    """
    if comparison is None or file is None:
        problem = "there is no validation part to judge the file by"
        return Verdict(
            tolerance=limits.tolerance, class_tolerance=limits.class_tolerance, problems=(problem,)
        )
    changes = tuple(_change(comparison, head) for head in HEADS)
    problems = [*_broken(comparison, file)]
    for change in changes:
        problems += _lost(change, limits)
        problems += _lost_classes(comparison, change, limits)
    return Verdict(
        tolerance=limits.tolerance,
        class_tolerance=limits.class_tolerance,
        problems=tuple(problems),
        changes=changes,
    )


def _broken(comparison: FileComparison, file: Probabilities) -> Iterator[str]:
    for head in HEADS:
        values = file[head]
        if not np.isfinite(values).all():
            yield f"the {head} output is not finite"
        elif min(values.shape) > 1 and np.ptp(values, axis=0).max() == 0:
            yield f"the {head} output is the same for every image"
    if comparison.swapped:
        yield "the landmark and the category output are swapped"


def _lost(change: HeadChange, limits: Limits) -> Iterator[str]:
    if change.high < -limits.tolerance - ROUNDING:
        yield (
            f"{change.head} macro F1 fell by {-100 * change.difference:.1f} points "
            f"({change.float_f1:.3f} -> {change.file_f1:.3f}), by at least "
            f"{-100 * change.high:.1f} with 95 % confidence, more than {100 * limits.tolerance:g}"
        )


def _lost_classes(comparison: FileComparison, change: HeadChange, limits: Limits) -> Iterator[str]:
    for one in _class_changes(comparison, change.head):
        if one.pictures >= ENOUGH and one.fall > limits.class_tolerance + ROUNDING:
            yield (
                f"{change.head} {one.name!r} fell by {100 * one.fall:.0f} points of recall on "
                f"{one.pictures} images, more than {100 * limits.class_tolerance:g}"
            )


def _change(comparison: FileComparison, head: str) -> HeadChange:
    before = comparison.float_scores[head]
    after = comparison.file_scores[head]
    truth, first, second = comparison.predictions[head]
    low, high = paired_interval(truth, first, second, len(before.classes))
    classes = sorted(_class_changes(comparison, head), key=lambda one: -one.fall)
    return HeadChange(
        head=head,
        pictures=before.n,
        float_f1=before.macro_f1,
        file_f1=after.macro_f1,
        difference=after.macro_f1 - before.macro_f1,
        low=low,
        high=high,
        float_accuracy=before.accuracy,
        file_accuracy=after.accuracy,
        changed=int((first != second).sum()),
        worst=tuple(one for one in classes[:WORST] if one.fall > 0),
    )


def _class_changes(comparison: FileComparison, head: str) -> list[ClassChange]:
    before = comparison.float_scores[head]
    after = comparison.file_scores[head]
    return [
        ClassChange(
            name=old.name, pictures=old.support, float_recall=old.recall, file_recall=new.recall
        )
        for old, new in zip(before.classes, after.classes, strict=True)
        if old.support
    ]
