"""Which frames are worth a label: ways to choose them, on the features of a base.

    python -m benchmarks.studies.label_choice DATA --unknown DIR --draws 40 --out label_choice.csv

Each draw deals the photographs of every landmark out as `closed_loop` does: a quarter to test on, a
half of the rest to be taught first, the other half passes as the field, with images of anything
else. A way to choose puts the field into an order, so many of it are labelled by the truth, and the
base is taught again. It keeps the regularisation, the temperatures and the decoding of the first
lesson, since fitting them takes nearly all of a lesson's time. All ways see the same draws: their
differences from chance are paired. In the second case a fifth of the landmarks is not taught first;
in the third a third of the landmarks is taught from two photographs.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from lmedge.camera.collect import MARGIN
from lmedge.decoding import joint_probabilities, softmax
from lmedge.evaluation.metrics import macro_f1
from lmedge.model_file import KNOWN
from lmedge.report.csv_files import write_csv
from lmedge.taxonomy import Taxonomy
from lmedge.teach.base import Base
from lmedge.teach.features import deviations, unit
from lmedge.teach.fitting import SHARPNESS, teach_heads
from lmedge.teach.ridge import Ridge

from .common import PATH, out_option, run_study
from .teach import NORMAL, Photographs, read_features

OTHERS = 20  # images of anything else in the field
CASES = ("every landmark is taught", "a fifth is new", "a third is rare")
CHANCE = "at random"
Places = list[int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelChoiceRow:
    """A way to choose with so many labels; means over the draws.

    `gain` is the landmark F1 over that of the first lesson, `over_chance` over the same number of
    labels at random, with its 95 % interval over paired draws. `of_landmarks` of the labels are of
    landmarks; `found` is the share of the new landmarks that have two labels at least.
    """

    case: str
    labels: int
    way: str
    draws: int
    landmark_f1: float
    gain: float
    over_chance: float
    low: float
    high: float
    of_landmarks: float
    found: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """What is known of the images of the field before they are labelled.

    Attributes:
        rows: (N, F) features of length 1.
        learned: (M, F) those that were taught.
        joint: (N, L) probabilities of the landmarks.
        known: (N,) true if the file shows a landmark.
        conflict: (N,) true if the heads disagree.
        counts: (L,) photographs that were taught of each landmark.
        chance: What decides between equals.
    """

    rows: npt.NDArray[np.floating]
    learned: npt.NDArray[np.floating]
    joint: npt.NDArray[np.floating]
    known: npt.NDArray[np.bool_]
    conflict: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]
    chance: np.random.Generator

    @property
    def margin(self) -> npt.NDArray[np.floating]:
        """The difference of the two best landmarks."""
        best = np.sort(self.joint, axis=1)
        return np.asarray(best[:, -1] - best[:, -2])

    def shuffled(self, where: npt.NDArray[np.bool_] | None = None) -> Places:
        """Return the places where it is true, in random order."""
        places = np.arange(len(self.rows)) if where is None else np.flatnonzero(where)
        return list(map(int, self.chance.permutation(places)))


Way = Callable[[Field], Places]


def collected(field: Field) -> Places:
    """Return the reasons of `--collect`: not known, undecided, in conflict; then the rest."""
    worth = ~field.known | (field.margin < MARGIN) | field.conflict
    return [*field.shuffled(worth), *field.shuffled(~worth)]


def undecided(field: Field) -> Places:
    """Return those with the smallest difference of two landmarks first, known or not."""
    return list(map(int, np.argsort(field.margin)))


def undecided_known(field: Field) -> Places:
    """Return the same of the known ones, then the others."""
    return sorted(undecided(field), key=lambda place: not field.known[place])


def known_first(field: Field) -> Places:
    """Return the known ones at random, then the others."""
    return [*field.shuffled(field.known), *field.shuffled(~field.known)]


def half_and_half(field: Field) -> Places:
    """Return those of `collected` and those at random by turns."""
    return _by_turns(collected(field), field.shuffled())


def in_turn(field: Field) -> Places:
    """Return one of each predicted landmark by turns, those with few photographs first."""
    return [*_in_turn(field, field.shuffled(field.known)), *field.shuffled(~field.known)]


def in_turn_undecided(field: Field) -> Places:
    """Return the same, of each landmark the least decided first."""
    order = [place for place in undecided(field) if field.known[place]]
    return [*_in_turn(field, order), *field.shuffled(~field.known)]


def spread(field: Field) -> Places:
    """Return the image farthest from all labelled ones, again and again (k-centre, greedy)."""
    return _farthest(field, field.shuffled())


def in_turn_and_spread(field: Field) -> Places:
    """Return three of `in_turn` and one far one of those that are not known, by turns."""
    far = _farthest(field, field.shuffled(~field.known))
    return _by_turns([place for place in in_turn(field) if field.known[place]], far, 3)


def gradients(field: Field) -> Places:
    """Return seeds of k-means++ on the gradients of the last layer (BADGE)."""
    guess = np.eye(field.joint.shape[1])[field.joint.argmax(axis=1)]
    away = field.joint - guess
    # Gradients are products of both, so their distances follow from the two Gram matrices.
    inner = (away @ away.T) * (field.rows @ field.rows.T)
    size = np.diag(inner)
    chosen = [int(size.argmax())]
    near = size + size[chosen[0]] - 2 * inner[chosen[0]]
    while len(chosen) < len(field.rows):
        weights = np.clip(near, 0, None)
        weights[chosen] = 0
        if weights.sum() <= 1e-12:
            return [*chosen, *(place for place in field.shuffled() if place not in chosen)]
        place = int(field.chance.choice(len(weights), p=weights / weights.sum()))
        chosen.append(place)
        near = np.minimum(near, size + size[place] - 2 * inner[place])
    return chosen


WAYS: dict[str, Way] = {
    CHANCE: lambda field: field.shuffled(),
    "reasons of --collect": collected,
    "half reasons, half at random": half_and_half,
    "least decided": undecided,
    "least decided of the known": undecided_known,
    "known ones at random": known_first,
    "predicted landmarks in turn": in_turn,
    "in turn, least decided first": in_turn_undecided,
    "in turn, every fourth unknown and far": in_turn_and_spread,
    "far from labelled ones (k-centre)": spread,
    "gradients (BADGE)": gradients,
}


def _in_turn(field: Field, order: Sequence[int]) -> Places:
    """Return places so that the landmark with the fewest photographs and labels is next."""
    waiting: dict[int, Places] = {}
    for place in order:
        waiting.setdefault(int(field.joint[place].argmax()), []).append(place)
    have, found = field.counts.copy(), []
    while waiting:
        landmark = min(waiting, key=lambda one: (have[one], one))
        found.append(waiting[landmark].pop(0))
        have[landmark] += 1
        if not waiting[landmark]:
            del waiting[landmark]
    return found


def _farthest(field: Field, places: Sequence[int]) -> Places:
    rest, found = list(places), []
    near = (field.rows @ field.learned.T).max(axis=1)
    while rest:
        place = min(rest, key=lambda one: near[one])
        rest.remove(place)
        found.append(place)
        near = np.maximum(near, field.rows @ field.rows[place])
    return found


def _by_turns(first: Sequence[int], second: Sequence[int], most: int = 1) -> Places:
    """Return `most` of the first and one of the second by turns, each once."""
    ones, others, found = list(first), list(second), dict[int, None]()
    while ones or others:
        for _ in range(most):
            if ones:
                found[ones.pop(0)] = None
        if others:
            found[others.pop(0)] = None
    return list(found)


class Draw:
    """One way to deal the photographs out."""

    def __init__(self, found: Photographs, other: Photographs, case: str, seed: int) -> None:
        """Deal."""
        self._found, self._other = found, other
        rng = np.random.default_rng(seed)
        self._names = sorted(found.hierarchy)
        few = set(
            rng.permutation(self._names)[: len(self._names) // (5 if case == CASES[1] else 3)]
        )
        self.new = few if case == CASES[1] else set()
        self.learned: Places = []
        self.tested: Places = []
        self.field: Places = []
        for name in self._names:
            order = rng.permutation(np.flatnonzero(found.landmarks == name)).tolist()
            test = max(1, round(len(order) / 4))
            half = max(2, (len(order) - test) // 2)
            first = order[test : test + half]
            if case != CASES[0] and name in few:
                first = [] if name in self.new else first[:2]
            self.tested += order[:test]
            self.learned += first
            self.field += order[test + half :]
        self.others = rng.permutation(len(other.rows))[:OTHERS].tolist()
        self._chance = int(rng.integers(1 << 31))
        self.before = teach_heads(found.lesson(self.learned, other.rows[:0, 0], 1))
        self.score_before = self._again([])

    def order(self, way: Way) -> Places:
        """Return the field in the order of a way; places behind the photographs are of others."""
        found, zero = self.before, self._found.zero
        rows = np.concatenate([self._found.rows[self.field, 0], self._other.rows[self.others, 0]])
        features = unit(rows, zero)
        outputs = found.heads.outputs(features)
        landmark, category = outputs["landmark"], outputs["category"]
        parents, names = found.taxonomy.parent_index, found.taxonomy.landmarks
        weight = found.decoding.category_weight
        counts = Counter(self._found.landmarks[self.learned].tolist())
        return way(
            Field(
                rows=features,
                learned=unit(self._found.rows[self.learned, 0], zero),
                joint=joint_probabilities(landmark, category, parents, weight),
                known=outputs[KNOWN][:, 0] >= found.rejection.threshold,
                conflict=parents[landmark.argmax(axis=1)] != category.argmax(axis=1),
                counts=np.array([counts[name] for name in names]),
                chance=np.random.default_rng(self._chance),
            )
        )

    def labelled(self, order: Places) -> tuple[float, int, float | None]:
        """Label these; return the landmark F1, the labels of landmarks, the share of new found."""
        count = len(self.field)
        labels = Counter(
            self._found.landmarks[[self.field[i] for i in order if i < count]].tolist()
        )
        shown = [i for i in order if i >= count or self._enough(self.field[i], labels)]
        new = [labels[name] >= 2 for name in self.new]
        share = float(np.mean(new)) if new else None
        return self._again(shown), labels.total(), share

    def _enough(self, place: int, labels: Counter[str]) -> bool:
        """Return True unless it is the only photograph of a new landmark: two are the least."""
        name = self._found.landmarks[place]
        return name not in self.new or labels[name] >= 2

    def _again(self, order: Places) -> float:
        """Return the landmark F1 of a lesson with more photographs."""
        places = [*self.learned, *(self.field[i] for i in order if i < len(self.field))]
        found, zero = self._found, self._found.zero
        names = sorted(set(found.landmarks[places].tolist()))
        taxonomy = Taxonomy.from_pairs((found.hierarchy[name], name) for name in names)
        place = {name: number for number, name in enumerate(taxonomy.landmarks)}
        truth = np.array([place[name] for name in found.landmarks[places].tolist()])
        parents = taxonomy.parent_index
        rows = unit(found.rows[places, 0], zero)
        deviation = deviations(rows, truth)
        ridge = Ridge(rows / deviation, truth)
        asked = unit(found.rows[self.tested, 0], zero) / deviation
        shown = []
        for head, classes, names_of in (
            ("landmark", truth, taxonomy.landmarks),
            ("category", parents[truth], taxonomy.categories),
        ):
            fitted = self.before.heads.heads[head]
            solved = ridge.solve(np.eye(len(names_of))[classes], fitted.share)
            kernel, bias = solved.coefficients()
            shown.append(softmax(SHARPNESS * (asked @ kernel + bias), fitted.temperature))
        return self._score(taxonomy, *shown)

    def _score(
        self,
        taxonomy: Taxonomy,
        landmark: npt.NDArray[np.floating],
        category: npt.NDArray[np.floating],
    ) -> float:
        weight = self.before.decoding.category_weight
        joint = joint_probabilities(landmark, category, taxonomy.parent_index, weight)
        place = {name: number for number, name in enumerate(self._names)}
        guess = np.array([place[taxonomy.landmarks[i]] for i in joint.argmax(axis=1)])
        truth = np.array([place[name] for name in self._found.landmarks[self.tested].tolist()])
        return macro_f1(truth, guess, len(self._names))


def measure(
    found: Photographs, other: Photographs, case: str, counts: Sequence[int], draws: int
) -> Iterator[LabelChoiceRow]:
    """Yield the rows of a case."""
    dealt = [Draw(found, other, case, seed) for seed in range(draws)]
    before = np.array([draw.score_before for draw in dealt])
    orders = {name: [draw.order(way) for draw in dealt] for name, way in WAYS.items()}
    for count in counts:
        chance: npt.NDArray[np.floating] | None = None
        for name, places in orders.items():
            ends = [draw.labelled(order[:count]) for draw, order in zip(dealt, places, strict=True)]
            f1 = np.array([end[0] for end in ends])
            chance = f1 if chance is None else chance
            over = f1 - chance
            half = NORMAL * float(over.std(ddof=1)) / math.sqrt(len(over)) if draws > 1 else 0.0
            shares = [end[2] for end in ends if end[2] is not None]
            yield LabelChoiceRow(
                case=case,
                labels=count,
                way=name,
                draws=draws,
                landmark_f1=round(float(f1.mean()), 4),
                gain=round(float((f1 - before).mean()), 4),
                over_chance=round(float(over.mean()), 4),
                low=round(float(over.mean()) - half, 4),
                high=round(float(over.mean()) + half, 4),
                of_landmarks=round(float(np.mean([end[1] for end in ends])), 1),
                found=round(float(np.mean(shares)), 3) if shares else None,
            )


@click.command()
@click.argument("data", type=PATH)
@click.option("--base", type=PATH, help="As for `lmedge teach`.")
@click.option("--unknown", type=PATH, required=True, help="Images of anything else.")
@click.option("--draws", type=click.IntRange(1), default=40, show_default=True)
@click.option(
    "--case", "cases", multiple=True, type=click.Choice(CASES), default=CASES, help="Repeatable."
)
@click.option(
    "--labels", multiple=True, type=click.IntRange(1), default=(20, 45), show_default=True
)
@out_option("label_choice.csv")
def main(
    data: Path,
    base: Path | None,
    unknown: Path,
    draws: int,
    cases: tuple[str, ...],
    labels: tuple[int, ...],
    out: Path,
) -> None:
    """Compare ways to choose the frames that are labelled."""
    opened = Base.open(base)
    found = read_features(data, opened.backbone, labelled=True)
    other = read_features(unknown, opened.backbone, labelled=False)
    rows: list[LabelChoiceRow] = []
    for case in cases:
        for row in measure(found, other, case, labels, draws):
            rows.append(row)
            click.echo(
                f"{case:26} {row.labels:3} {row.way:38} {row.landmark_f1:.3f} "
                f"{row.over_chance:+.3f} ({row.low:+.3f} to {row.high:+.3f}) {row.of_landmarks}"
            )
        write_csv(out, rows, data=f"{data.name}, {OTHERS} others in the field, {draws} draws")


if __name__ == "__main__":
    run_study(main)
