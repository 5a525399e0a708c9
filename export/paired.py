"""Two sets of answers to the same pictures: how far apart they are, and how sure that is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.stats import binom

from lmedge.metrics import score_head

Labels = npt.NDArray[np.integer]
Numbers = npt.NDArray[np.float64]
CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
RESAMPLES = 4000
CELLS = 2_000_000  # of one array while resampling: 16 MB
MOST = 5  # classes named


@dataclasses.dataclass(frozen=True)
class ClassChange:
    """One class before and after: recall and F1 in 0..1, and its number of pictures."""

    name: str
    pictures: int
    float_recall: float
    file_recall: float
    float_f1: float
    file_f1: float

    @property
    def recall_lost(self) -> float:
        """Recall of the float network less that of the file, in -1..1."""
        return self.float_recall - self.file_recall


@dataclasses.dataclass(frozen=True)
class Change:
    """What a head lost or gained from float to file on the same pictures; all shares in 0..1.

    Macro F1 here is the mean over the classes that have pictures, before and after alike.
    `difference` is file less float, `interval` its paired 95 % bootstrap interval. `lost` and
    `gained` count pictures: right before only, right after only. `classes` have pictures and lost
    recall or F1, most recall first.
    """

    pictures: int
    float_macro_f1: float
    file_macro_f1: float
    difference: float
    interval: tuple[float, float]
    float_accuracy: float
    file_accuracy: float
    lost: int
    gained: int
    possible_fall: float
    classes: tuple[ClassChange, ...]


def paired_change(
    truth: Labels, before: Labels, after: Labels, names: Sequence[str], rng: np.random.Generator
) -> Change:
    """Compare the float network's answers with the file's: each (N,) integers below len(names).

    N is at least 1. The interval is the percentile bootstrap over pictures (Efron & Tibshirani,
    An Introduction to the Bootstrap, 1993, chapter 13), both answers of a picture drawn together.
    """
    pairs = _macro_f1_of_resamples(truth, before, after, len(names), rng)
    low, high = np.quantile(pairs[1] - pairs[0], [TAIL, 1 - TAIL])
    old, new = (score_head(truth, guess, tuple(names)) for guess in (before, after))
    classes = [
        ClassChange(a.name, a.support, a.recall, b.recall, a.f1, b.f1)
        for a, b in zip(old.classes, new.classes, strict=True)
        if a.support
    ]
    float_f1 = float(np.mean([score.float_f1 for score in classes]))
    file_f1 = float(np.mean([score.file_f1 for score in classes]))
    fallen = [score for score in classes if score.recall_lost > 0 or score.float_f1 > score.file_f1]
    fallen.sort(key=lambda score: (-score.recall_lost, score.file_f1 - score.float_f1))
    return Change(
        pictures=len(truth),
        float_macro_f1=float_f1,
        file_macro_f1=file_f1,
        difference=file_f1 - float_f1,
        interval=(float(low), float(high)),
        float_accuracy=old.accuracy,
        file_accuracy=new.accuracy,
        lost=int(((before == truth) & (after != truth)).sum()),
        gained=int(((before != truth) & (after == truth)).sum()),
        possible_fall=max(-float(low), _unseen_share(len(truth))),
        classes=tuple(fallen),
    )


def _macro_f1_of_resamples(
    truth: Labels, before: Labels, after: Labels, size: int, rng: np.random.Generator
) -> Numbers:
    """Return macro F1 of both, (2, RESAMPLES), on pictures drawn with replacement.

    A class without pictures in a resample is left out of its mean, before and after alike.
    Pictures with the same truth and answers are drawn together, as one multinomial count.
    """
    kinds, counts = np.unique(np.stack([truth, before, after], 1), axis=0, return_counts=True)
    rows = np.arange(len(kinds))

    def by_class(labels: Labels, chosen: npt.NDArray[np.bool_] | None = None) -> csr_array:
        weights = np.ones(len(kinds)) if chosen is None else chosen.astype(np.float64)
        return csr_array((weights, (labels, rows)), shape=(size, len(kinds)))

    true, *guesses = kinds.T
    support_of = by_class(true)
    sums = [(by_class(true, guess == true), by_class(guess)) for guess in guesses]
    found = []
    block = max(1, CELLS // max(size, len(kinds)))
    for start in range(0, RESAMPLES, block):
        drawn = rng.multinomial(
            len(truth), counts / len(truth), size=min(block, RESAMPLES - start)
        ).T.astype(np.float64)
        support = support_of @ drawn
        present = support > 0
        found.append(
            [
                (2 * (right @ drawn) / np.maximum(support + guessed @ drawn, 1) * present).sum(0)
                / present.sum(0)
                for right, guessed in sums
            ]
        )
    return np.concatenate(found, axis=1)


def _unseen_share(pictures: int) -> float:
    """Share of pictures that may change although none of `pictures` did.

    The upper end of the exact binomial interval at zero (Clopper & Pearson 1934), which a
    bootstrap cannot see: it draws nothing but what happened.
    """
    return float(1 - TAIL ** (1 / pictures))


def visible_fall(pictures: int, tolerance: float) -> float:
    """Return the smallest fall that `pictures` can show to be more than `tolerance`, in 0..1.

    The smallest share of pictures that are wrong afterwards only, none the other way, whose
    interval lies beyond the tolerance; that is the fall of macro F1 for classes of about equal
    size. 1 where even all of them would not do.
    """
    flipped = np.arange(1, pictures + 1)
    shown = binom.ppf(TAIL, pictures, flipped / pictures) > tolerance * pictures
    return float(flipped[shown][0] / pictures) if shown.any() else 1.0
