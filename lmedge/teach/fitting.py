"""The heads of a taught file, and honest answers for every photograph that they learned.

Nothing is chosen by hand and nothing is held back. The regularisation of each head, its
temperature, the weight of the joint decoding and the thresholds are fitted to the answers that
regressions without a photograph, or without its burst, give for it. The output `known` is fitted to
those, and to the answers that regressions without a whole landmark give for that landmark. Only the
deviations that the features are divided by are those of all photographs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..decoding import Decoding, joint_probabilities, softmax
from ..evaluation.scoring import Scores, fit_category_weight, score_probabilities
from ..evaluation.temperature import fit_temperature, smoothed_loss
from ..evaluation.thresholds import FittedThresholds, UnknownOutputs, fit_rejection
from ..model_file import HEADS, KNOWN
from ..rejection import COVERAGE
from ..taxonomy import Taxonomy
from .features import FeatureSet, alike, bursts, deviations, unit
from .known import Evidence, KnownScore
from .plane import Plane
from .ridge import Floats, Places, Ridge

# Regularisations that are tried, as shares of the sum of squares: steps of about 2.4.
SHARES = tuple(float(share) for share in np.geomspace(3e-5, 0.03, 9))
SHARPNESS = 20.0  # logits per unit of the regression, so that temperatures are near 1
Truth = Mapping[str, npt.NDArray[np.int64]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearHead:
    """One head: logits are scaled features times kernel, (F, K), plus bias, (K,)."""

    kernel: Floats
    bias: Floats
    temperature: float
    share: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaughtHeads:
    """All constants of the heads.

    Attributes:
        heads: By name.
        known: The third output.
        deviation: (F,) what features of length 1 are divided by.
        centre: (F,) of the plane through the means of the landmarks.
        basis: (F, R) of that plane.
    """

    heads: Mapping[str, LinearHead]
    known: KnownScore
    deviation: npt.NDArray[np.float32]
    centre: Floats
    basis: Floats

    def outputs(self, rows: npt.NDArray[np.floating]) -> dict[str, npt.NDArray[np.float32]]:
        """Return what the graph computes for (N, F) features of length 1, by output."""
        rows = rows / self.deviation
        logits = {name: rows @ one.kernel + one.bias for name, one in self.heads.items()}
        found = {name: softmax(logits[name], self.heads[name].temperature) for name in self.heads}
        off = rows - self.centre
        inside = np.square(off @ self.basis).sum(axis=1)
        evidence = Evidence(
            values=logits["landmark"] / SHARPNESS, distance=np.square(off).sum(axis=1) - inside
        )
        return {**found, KNOWN: pair(self.known.of(evidence))}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Teaching:
    """Heads, with everything that was fitted to honest answers and measured on them.

    Attributes:
        heads: The constants.
        taxonomy: The labels.
        truth: True classes by head, (N,), of the photographs in the order of the set.
        answers: Outputs by name, (N, K), of regressions without the photograph and its burst.
        measured: (N,) false for photographs whose landmark has no other burst: no regression can
            judge them. If none is measured, `scores` mean nothing, and the fit is a guess.
        groups: (N,) number of the group of like photographs, or of one burst, of each.
        alike: The pairs of photographs that are alike, also of two landmarks.
        decoding: The weight of the category head.
        rejection: The thresholds.
        scores: Of the answers.
        passing: Share, 0..1, of the photographs of a landmark that was left out which pass as
            known.
    """

    heads: TaughtHeads
    taxonomy: Taxonomy
    truth: Truth
    answers: Mapping[str, npt.NDArray[np.float32]]
    measured: npt.NDArray[np.bool_]
    groups: npt.NDArray[np.intp]
    alike: Sequence[tuple[int, int]]
    decoding: Decoding
    rejection: FittedThresholds
    scores: Scores
    passing: float

    @property
    def bursts(self) -> int:
        """Number of groups."""
        return int(self.groups.max()) + 1

    @property
    def judged(self) -> bool:
        """True if a landmark has several bursts, so that there is an honest answer."""
        return bool(self.measured.any())


def teach_heads(found: FeatureSet) -> Teaching:
    """Fit the heads to a set of features. Each landmark must have a photograph."""
    rows, landmark = found.rows()
    taxonomy = found.taxonomy
    parents = taxonomy.parent_index
    truth = {"landmark": landmark, "category": parents[landmark].astype(np.int64)}
    pairs = alike(rows)
    groups = bursts(landmark, [*pairs, *found.tied()])
    deviation = deviations(rows, landmark)
    rows /= deviation
    judge = _Judge(rows, truth, taxonomy, groups)
    fitted = judge.heads()
    answers = {name: softmax(one.left, one.head.temperature) for name, one in fitted.items()}
    plane = Plane(rows, landmark)
    known, scores = judge.known(
        fitted["landmark"], plane, unit(found.unknown, found.zero) / deviation
    )
    answers[KNOWN] = pair(scores.own)
    measured = {name: values[judge.used] for name, values in answers.items()}
    true = {name: values[judge.used] for name, values in truth.items()}
    weight = fit_category_weight(measured, true, taxonomy)
    scored = score_probabilities(measured, true, taxonomy, weight)
    joint = joint_probabilities(measured["landmark"], measured["category"], parents, weight)
    right = joint.argmax(axis=1) == true["landmark"]
    heads = TaughtHeads(
        heads={name: one.head for name, one in fitted.items()},
        known=known,
        deviation=deviation,
        centre=plane.centre,
        basis=plane.basis,
    )
    rejection = fit_rejection(
        parents,
        measured,
        None,
        _unknown_outputs(heads, found, scores.left_out),
        COVERAGE,
        {"val": right},
    )
    return Teaching(
        heads=heads,
        taxonomy=taxonomy,
        truth=truth,
        answers=answers,
        measured=judge.measured,
        groups=_numbered(groups),
        alike=pairs,
        decoding=Decoding(category_weight=weight),
        rejection=rejection,
        scores=scored,
        passing=float((scores.left_out >= rejection.threshold).mean()),
    )


def _numbered(groups: list[Places]) -> npt.NDArray[np.intp]:
    """Return the number of the group of each row."""
    found = np.empty(sum(map(len, groups)), np.intp)
    for number, group in enumerate(groups):
        found[group] = number
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class _FittedHead:
    """A head, and its logits for each row by regressions without the row's group."""

    head: LinearHead
    left: Floats


@dataclasses.dataclass(frozen=True, kw_only=True)
class _KnownScores:
    """The output `known`: of each photograph, and of those of a landmark that was left out."""

    own: Floats
    left_out: Floats


class _Judge:
    """The honest answers of one set of features, for any regularisation."""

    def __init__(
        self,
        rows: npt.NDArray[np.float32],
        truth: Truth,
        taxonomy: Taxonomy,
        groups: list[Places],
    ) -> None:
        self._ridge, self._truth, self._groups = Ridge(rows, truth["landmark"]), truth, groups
        self._targets = {
            "landmark": np.eye(len(taxonomy.landmarks))[truth["landmark"]],
            "category": np.eye(len(taxonomy.categories))[truth["category"]],
        }
        counts = np.bincount(truth["landmark"])
        self.measured = np.ones(len(truth["landmark"]), np.bool_)
        self._weights = np.ones(len(self.measured))
        for group in groups:
            self.measured[group] = len(group) < counts[truth["landmark"][group[0]]]
            self._weights[group] = 1 / len(group)
        self.used = self.measured if self.measured.any() else ~self.measured  # to fit to

    def heads(self) -> dict[str, _FittedHead]:
        """Choose the regularisation of each head by the log loss of its honest answers.

        A group weighs as one photograph there. Its frames repeat one answer, so that a few long
        bursts would choose for all other photographs.
        """
        together = np.concatenate([self._targets[name] for name in HEADS], axis=1)
        ends = np.cumsum([self._targets[name].shape[1] for name in HEADS])
        best: dict[str, tuple[float, float, float, Floats]] = {}
        weights = self._weights[self.used]
        for share in SHARES:
            left = self._ridge.solve(together, share).left_out(self._groups)
            parts = np.split(left * SHARPNESS, ends[:-1], axis=1)
            for name, values in zip(HEADS, parts, strict=True):
                judged, truth = values[self.used], self._truth[name][self.used]
                temperature = fit_temperature(judged, truth, weights)
                loss = smoothed_loss(judged, truth, weights)(temperature)
                if name not in best or loss < best[name][0]:
                    best[name] = loss, share, temperature, values
        return {name: self._fitted(name, *best[name][1:]) for name in HEADS}

    def _fitted(self, name: str, share: float, temperature: float, left: Floats) -> _FittedHead:
        kernel, bias = self._ridge.solve(self._targets[name], share).coefficients()
        head = LinearHead(
            kernel=SHARPNESS * kernel, bias=SHARPNESS * bias, temperature=temperature, share=share
        )
        return _FittedHead(head=head, left=left)

    def known(
        self, landmark: _FittedHead, plane: Plane, unknown: npt.NDArray[np.float32]
    ) -> tuple[KnownScore, _KnownScores]:
        """Fit the output `known`. unknown: (M, F) rows of images of anything else."""
        truth, targets = self._truth["landmark"], self._targets["landmark"]
        every = Evidence(
            values=landmark.left / SHARPNESS, distance=plane.without_groups(self._groups)
        )
        own = Evidence(values=every.values[self.used], distance=every.distance[self.used])
        classes = [np.flatnonzero(truth == number) for number in range(targets.shape[1])]
        values = self._ridge.solve(targets, landmark.head.share).left_out(classes)
        values[np.arange(len(truth)), truth] = -np.inf  # the landmark that is not in the list
        away = Evidence(values=values, distance=plane.without_classes())
        fitting = unknown[0::2]  # the others test what is fitted
        others = Evidence(
            values=(fitting @ landmark.head.kernel + landmark.head.bias) / SHARPNESS,
            distance=plane.distances(fitting),
        )
        kinds = [(away, 0.25), (others, 0.25)] if len(fitting) else [(away, 0.5)]
        score = KnownScore.fit(own, kinds)
        return score, _KnownScores(own=score.of(every), left_out=score.of(away))


def pair(score: Floats) -> npt.NDArray[np.float32]:
    """Return the output `known`, (N, 2), of (N,) scores."""
    return np.stack([score, 1 - score], axis=1).astype(np.float32)


def _unknown_outputs(
    heads: TaughtHeads, found: FeatureSet, left_out: Floats
) -> UnknownOutputs | None:
    """Return the outputs for the unknown images: half of them fitted `known`, the others test.

    The scores of landmarks that were left out, (N,), are among those that fit.
    """
    if len(found.unknown) < 2:
        return None
    outputs = heads.outputs(unit(found.unknown, found.zero))
    fit = {name: values[0::2] for name, values in outputs.items()}
    return UnknownOutputs(
        fit={**fit, KNOWN: np.concatenate([fit[KNOWN], pair(left_out)])},
        test={name: values[1::2] for name, values in outputs.items()},
    )
