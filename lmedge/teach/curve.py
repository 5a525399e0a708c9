"""The learning curve: how much more photographs would bring, from lessons with fewer."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from ..evaluation.intervals import COVERAGE
from .features import FeatureSet
from .fitting import Teaching
from .ridge import BLOCK, Floats, Places

MORE = 10  # photographs a landmark that the forecast is about
PARTS = (0.25, 0.5)  # of the photographs of each landmark, in lessons of their own
DRAWS = 6  # lessons with each part
RESAMPLES = 400
LEAST = 6  # photographs of a landmark on average, below which nothing can be forecast


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forecast:
    """The share of photographs, 0..1, that MORE photographs a landmark would make right.

    `low` and `high` are the ends of its 95 % interval. Landmarks count the same.
    """

    gain: float
    low: float
    high: float


def forecast(found: Teaching, features: FeatureSet) -> Forecast | None:
    """Forecast the gain by a power law (Hestness et al., arXiv:1712.00409) of the share of errors.

    The points are lessons with a part of the photographs, judged by the others, and the honest
    answers with all of them. Returns None for fewer than LEAST photographs a landmark, or if there
    are no honest answers.
    """
    rows, truth = features.rows()
    landmarks = len(features.landmarks)
    each = len(truth) / landmarks
    if each < LEAST or not found.judged:
        return None
    rows /= found.heads.deviation
    kernel = rows @ rows.T
    del rows
    share = found.heads.heads["landmark"].share
    rng = np.random.default_rng(0)
    sizes, wrong = [], []
    for part in PARTS:
        errors = [_error(kernel, truth, part, share, rng) for _ in range(DRAWS)]
        sizes.append(max(1.0, part * each))
        wrong.append(np.array(errors))
    guess = found.answers["landmark"].argmax(axis=1)
    right = (guess == truth)[found.measured]
    own = truth[found.measured]
    value = _gain(
        np.array([*sizes, each]), [*(float(one.mean()) for one in wrong), _missed(right, own)], each
    )
    drawn = []
    for _ in range(RESAMPLES):
        # One lesson, not their mean: all are of the same photographs and would seem too sure.
        again = [float(rng.choice(errors)) for errors in wrong]
        places = rng.integers(0, len(own), len(own))
        points = [*again, _missed(right[places], own[places])]
        drawn.append(_gain(np.array([*sizes, each]), points, each))
    tail = 50 * (1 - COVERAGE)
    low, high = np.percentile(drawn, [tail, 100 - tail]).tolist()
    return Forecast(gain=value, low=min(low, value), high=max(high, value))


def _missed(right: npt.NDArray[np.bool_], truth: npt.NDArray[np.int64]) -> float:
    """Return the mean over landmarks of the share of wrong photographs, never 0."""
    counts = np.bincount(truth)
    misses = np.bincount(truth, weights=~right)
    seen = counts > 0
    return float((misses[seen] / counts[seen]).mean()) + 0.5 / len(truth)


def _gain(sizes: Floats, wrong: list[float], each: float) -> float:
    """Return the error at `each` less that at MORE more, by a line through the logarithms."""
    slope, level = np.polyfit(np.log(sizes), np.log(wrong), 1)
    slope = min(float(slope), 0.0)
    now = float(np.exp(level + slope * np.log(each)))
    return float(now * (1 - ((each + MORE) / each) ** slope))


def _error(
    kernel: npt.NDArray[np.float32],
    truth: npt.NDArray[np.int64],
    part: float,
    share: float,
    rng: np.random.Generator,
) -> float:
    """Return the share of errors of a lesson with a part of each landmark, on all others."""
    learned = np.zeros(len(truth), np.bool_)
    for number in range(int(truth.max()) + 1):
        members = rng.permutation(np.flatnonzero(truth == number))
        learned[members[: max(1, round(part * len(members)))]] = True
    asked = np.flatnonzero(~learned)
    guess = _answers(kernel, truth, np.flatnonzero(learned), asked, share).argmax(axis=1)
    return _missed(guess == truth[asked], truth[asked])


def _answers(
    kernel: npt.NDArray[np.float32],
    truth: npt.NDArray[np.int64],
    learned: Places,
    asked: Places,
    share: float,
) -> Floats:
    """Return what a `Ridge` of the learned rows predicts for the asked ones, (M, K).

    kernel: The products of all rows with each other. Fewer rows than features are solved by them.
    """
    own = truth[learned]
    counts = np.bincount(own)
    weights = 1 / (counts[own] * len(counts))
    targets = np.eye(len(counts))[own]
    # In place and by blocks: a few of these arrays would be the most memory of a lesson.
    system = kernel[np.ix_(learned, learned)].astype(np.float64)
    mean = system @ weights
    middle = float(weights @ mean)
    system -= mean[:, None]
    system -= mean - middle
    roots = np.sqrt(weights)
    system *= roots
    system *= roots[:, None]
    system[np.diag_indices_from(system)] += share * np.trace(system)
    level = weights @ targets
    factors = roots[:, None] * np.linalg.solve(system, roots[:, None] * (targets - level))
    found = np.empty((len(asked), len(counts)))
    for start in range(0, len(asked), BLOCK):
        part = slice(start, start + BLOCK)
        across = kernel[np.ix_(asked[part], learned)].astype(np.float64)
        across -= (across @ weights)[:, None]
        across -= mean - middle
        found[part] = across @ factors + level
    return found
