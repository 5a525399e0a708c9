"""The gate of a taught file: what nobody would notice before it is in use."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..decoding import joint_probabilities
from ..evaluation.intervals import wilson_interval
from .features import FeatureSet
from .fitting import Teaching

FEWEST = 3  # bursts of a landmark below which its answers are those of half of what it knows
APART = 0.75  # share of right choices between two landmarks, half way from a guess to certainty
DOUBT = 0.025  # chance of a loss as large, if nothing was lost
MOST = 5  # problems of a kind that are named


def copies(rows: FeatureSet, pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of like photographs that stand under two landmarks."""
    _, truth = rows.rows()
    yield from ((one, other) for one, other in pairs if truth[one] != truth[other])


def not_distinguished(found: Teaching) -> list[str]:
    """Return a line for each pair of landmarks that the honest answers do not distinguish.

    Of the photographs of both, the share for which the regression prefers the right one is below
    APART, by the upper end of its 95 % interval. That counts groups: the photographs of one burst
    say one thing many times. A landmark of two groups is not compared. Without one of them, its
    regression knows another view alone.
    """
    names, truth = found.taxonomy.landmarks, found.truth["landmark"]
    values, lines = found.answers["landmark"], []
    counts = [
        len(np.unique(found.groups[found.measured & (truth == number)]))
        for number in range(len(names))
    ]
    for first in range(len(names)):
        for second in range(first + 1, len(names)):
            if not all(one == 0 or one >= FEWEST for one in (counts[first], counts[second])):
                continue
            asked = np.isin(truth, (first, second)) & found.measured
            first_wins = values[asked, first] > values[asked, second]
            rights = first_wins == (truth[asked] == first)
            count = len(np.unique(found.groups[asked]))
            share = _mean_of_groups(rights, found.groups[asked])
            if count and wilson_interval(round(share * count), count)[1] < APART:
                lines.append(
                    f"{names[first]!r} and {names[second]!r} cannot be distinguished: between the "
                    f"two, {rights.sum()} of {len(rights)} photographs are right; are they one "
                    "place, or are photographs in the wrong folder?"
                )
    return lines


def losses(before: Teaching, old: FeatureSet, after: Teaching, new: FeatureSet) -> list[str]:
    """Return a line for each landmark of the base that lost photographs beyond doubt.

    A photograph is lost if it was right before and is wrong after. The test is that of signs, with
    DOUBT divided by the number of landmarks, on the groups of before: one that loses more
    photographs than it gains counts as one.
    """
    was, now = _right(before, old), _right(after, new)
    group = dict(zip(_keys(old), before.groups.tolist(), strict=True))
    lines = []
    for name in old.landmarks:
        both = [key for key in was if key[0] == name and key in now]
        change: Counter[int] = Counter()
        for key in both:
            change[group[key]] += int(now[key]) - int(was[key])
        fewer, more = (sum(sign * one > 0 for one in change.values()) for sign in (-1, 1))
        lost = sum(was[key] and not now[key] for key in both)
        gained = sum(now[key] and not was[key] for key in both)
        if _chance(fewer, fewer + more) < DOUBT / len(old.landmarks):
            lines.append(
                f"{name!r} loses: {lost} of its {len(both)} photographs were right before and are "
                f"wrong now, {gained} the other way"
            )
    return lines


def against_trained(trained: float, found: Teaching) -> tuple[str, list[str]]:
    """Compare heads in closed form with the trained heads of the base, on the same landmarks.

    The backbone has learned these photographs, so that the honest answers are too good. If they are
    worse than the trained heads nevertheless, beyond their interval, that is a problem. Nothing is
    compared if the photographs of each landmark are one burst, since no answer is honest then.

    Args:
        trained: Landmark macro F1 of the trained heads.
        found: Heads in closed form for the landmarks of the base.

    Returns:
        A line for people, and the problems.
    """
    line = (
        f"the trained heads of the base had landmark macro F1 {trained:.3f} on photographs that "
        "they had not learned; heads in closed form take their place"
    )
    if not found.judged:
        return f"{line}; nothing judges those, since the photographs of each landmark are alike", []
    low, high = found.scores.intervals()["landmark"]
    line += (
        f", with {found.scores['landmark'].macro_f1:.3f} ({low:.3f} to {high:.3f}) on its "
        "landmarks, which is too good, since the backbone has learned these photographs"
    )
    worse = f"heads in closed form are worse than the trained heads of the base ({high:.3f} at the "
    worse += f"most, {trained:.3f}); train again with the new photographs"
    return line, [worse] if high < trained else []


def _right(found: Teaching, rows: FeatureSet) -> Mapping[tuple[str, bytes], bool]:
    """Return whether each measured photograph is right, by landmark and features."""
    right = honest_guesses(found) == found.truth["landmark"]
    keys = zip(_keys(rows), right.tolist(), found.measured.tolist(), strict=True)
    return {key: is_right for key, is_right, measured in keys if measured}


def _keys(rows: FeatureSet) -> list[tuple[str, bytes]]:
    """Return landmark and features of each photograph, in the order of `FeatureSet.rows`."""
    names = sorted(rows.landmarks)
    return [(name, row.tobytes()) for name in names for row in rows.landmarks[name]]


def _mean_of_groups(values: npt.NDArray[np.bool_], groups: npt.NDArray[np.intp]) -> float:
    """Return the mean, 0..1, in which each group counts as much as any other."""
    if not len(values):
        return 0.0
    _, places, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return float((np.bincount(places.reshape(-1), weights=values) / counts).mean())


def honest_guesses(found: Teaching) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return the landmark, (N,), that the honest answers of both heads give."""
    return np.asarray(_joint(found).argmax(axis=1), np.intp)


def _joint(found: Teaching) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    parents, weight = found.taxonomy.parent_index, found.decoding.category_weight
    return joint_probabilities(
        found.answers["landmark"], found.answers["category"], parents, weight
    )


def _chance(least: int, count: int) -> float:
    """Return the probability of `least` heads or more in `count` throws of a coin."""
    if not least:
        return 1.0
    return float(sum(math.comb(count, one) for one in range(least, count + 1)) / 2**count)


def doubted(found: Teaching, most: int = MOST) -> list[tuple[int, int, float, float]]:
    """Return the photographs whose landmark the honest answers give the least probability.

    Returns:
        Of each wrong one, the most doubted first: its place, the landmark that it is taken for, and
        the probabilities of that and of its own.
    """
    joint, truth = _joint(found), found.truth["landmark"]
    own, guess = joint[np.arange(len(truth)), truth], joint.argmax(axis=1)
    order = np.argsort(own, kind="stable")
    wrong = [int(at) for at in order if guess[at] != truth[at] and found.measured[at]]
    return [(at, int(guess[at]), float(joint[at].max()), float(own[at])) for at in wrong[:most]]


def shortened(lines: Sequence[str]) -> list[str]:
    """Return the first lines, and how many more there are."""
    more = len(lines) - MOST
    return [*lines[:MOST], *([f"{more} more of this kind"] if more > 0 else [])]
