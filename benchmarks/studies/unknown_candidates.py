"""The scores of the study `unknown_coverage`, on the features and logits of one network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from lmedge.decoding import softmax
from lmedge.evaluation.folders import LabelledImage
from lmedge.evaluation.temperature import fit_temperature
from lmedge.evaluation.unknown import list_unknown_images
from lmedge.export.verification.known import cosines, fit_known, flat_regression, mean_directions
from lmedge.model_file import HEADS
from lmedge.train.backbones import BACKBONES
from lmedge.train.fitting.features import FrozenBackbone, prepared_key
from lmedge.train.network import head_network, load_network
from lmedge.train.run import Run

Values = npt.NDArray[np.float64]
TEMPERATURE = 0.5  # of the energies, and of one score
LEADING = 200  # directions of the training features whose complement is the residual


def landmark_images(folder: Path, known: set[str], each: int) -> list[Path]:
    """Return at most `each` images of every folder whose name is not in `known`."""
    by_name: dict[str, list[Path]] = {}
    for path in list_unknown_images(folder):
        if path.parent.name not in known:
            by_name.setdefault(path.parent.name, []).append(path)
    return [path for paths in by_name.values() for path in paths[:: -(-len(paths) // each)]]


@dataclasses.dataclass(frozen=True)
class Group:
    """Images of one kind: features of length 1, raw features, logits, and a label of each."""

    raw: Values
    logits: Mapping[str, Values]
    label: npt.NDArray[Any]

    @property
    def unit(self) -> Values:
        """The features of length 1."""
        return np.asarray(self.raw / np.maximum(np.linalg.norm(self.raw, axis=1)[:, None], 1e-12))

    def only(self, chosen: npt.NDArray[np.bool_]) -> Group:
        """Return some of the images."""
        logits = {head: values[chosen] for head, values in self.logits.items()}
        return Group(self.raw[chosen], logits, self.label[chosen])


@dataclasses.dataclass(frozen=True)
class Measured:
    """The features and logits of one network for its parts and for unknown images.

    `last` is the number of features that are averages over the last map. `groups` are "train",
    "val", "test", "near" and "other"; `parents` the category of each landmark, `temperatures` those
    fitted to the validation part.
    """

    groups: Mapping[str, Group]
    parents: npt.NDArray[np.intp]
    temperatures: Mapping[str, float]
    last: int

    @classmethod
    def of(cls, run: Run, near: list[Path], other: list[Path]) -> Measured:
        """Compute them for a run, or read them from the cache."""
        network = load_network(run)
        entries = [entry for part in ("train", "val", "test") for entry in run.entries(part)]
        unknown, _ = run.input_store.admit([LabelledImage(path, "", "") for path in near + other])
        everything = [*entries, *unknown]
        features = FrozenBackbone(network).features(
            lambda index: run.input_store.prepared(everything[index]),
            len(everything),
            prepared_key(run.recipe, everything),
        )
        raw = np.asarray(features, np.float32)
        found = head_network(network, HEADS).predict(raw, batch_size=1024, verbose=0)
        groups: dict[str, Group] = {}
        paths = {entry.image.path for entry in unknown}
        labels = {
            **{part: run.labels(part)["landmark"] for part in ("train", "val", "test")},
            "near": np.array([path.parent.name for path in near if path in paths]),
            "other": np.array([path.name for path in other if path in paths]),
        }
        start = 0
        for name, label in labels.items():
            rows = slice(start, start := start + len(label))
            logits = {head: found[head][rows].astype(np.float64) for head in HEADS}
            groups[name] = Group(raw[rows].astype(np.float64), logits, label)
        val, truth = groups["val"], run.labels("val")
        temperatures = {
            h: fit_temperature(val.logits[h].astype(np.float32), truth[h]) for h in HEADS
        }
        last = BACKBONES[run.spec.backbone].last_features
        return cls(groups, run.taxonomy.parent_index, temperatures, last)

    def probabilities(self, group: Group, temperature: float | None = None) -> dict[str, Values]:
        """Return the probabilities by head, with the fitted temperatures or one of both heads."""
        return {
            head: softmax(group.logits[head], temperature or self.temperatures[head]).astype(
                np.float64
            )
            for head in HEADS
        }

    def agreed(self, group: Group, temperature: float | None = None) -> Values:
        """Return p(landmark) p(its category), (N, L)."""
        p = self.probabilities(group, temperature)
        return np.asarray(p["landmark"] * p["category"][:, self.parents])


def scores_without(m: Measured) -> dict[str, Callable[[Group], Values]]:
    """Return the scores that need no unknown images."""
    train = m.groups["train"]
    count = len(m.parents)
    directions = mean_directions(train.raw, train.label, count)
    kernel, bias = flat_regression(train.raw, train.label, count, train.raw[:0])
    leading = _leading(train.unit)
    centre = train.unit.mean(axis=0)
    means = np.stack([train.unit[train.label == n].mean(axis=0) for n in range(count)])
    precision, whole = _precision(train.unit - means[train.label]), _precision(train.unit - centre)

    def residual(g: Group) -> Values:
        x = g.unit - centre
        left = x - x @ leading.T @ leading
        return np.asarray(np.linalg.norm(left, axis=1) / np.linalg.norm(x, axis=1))

    def mahalanobis(g: Group) -> Values:
        distances = [_squares(g.unit - mean, precision) for mean in means]
        return np.asarray(np.min(distances, axis=0))

    def energy(logits: Values) -> Values:
        return np.asarray(np.logaddexp.reduce(logits / TEMPERATURE, axis=1))

    head = np.linalg.lstsq(_padded(train.raw), train.logits["landmark"], rcond=None)[0]
    limit = np.quantile(train.raw, 0.99)
    scale = energy(train.logits["landmark"]).mean() / max(float(residual(train).mean()), 1e-9)

    last = mean_directions(train.raw[:, -m.last :], train.label, count)

    def known(g: Group, temperature: float | None = None) -> Values:
        near = cosines(g.raw[:, -m.last :], last)
        return np.asarray((m.agreed(g, temperature) * near).sum(axis=1))

    return {
        "agreement": lambda g: m.agreed(g).sum(axis=1),
        "known": known,
        "known, temperature 0.5": lambda g: known(g, TEMPERATURE),
        "cosine of the class mean": lambda g: cosines(g.raw, directions).max(axis=1),
        "nearest training image": lambda g: (g.unit @ train.unit.T).max(axis=1),
        "Mahalanobis": lambda g: -mahalanobis(g),
        "relative Mahalanobis": lambda g: _squares(g.unit - centre, whole) - mahalanobis(g),
        "energy": lambda g: energy(g.logits["landmark"]),
        "energy, ReAct": lambda g: energy(_padded(np.minimum(g.raw, limit)) @ head),
        "energy, ASH-S 65": lambda g: energy(_padded(_pruned(g.raw, 65)) @ head),
        "virtual logit (ViM)": lambda g: energy(g.logits["landmark"]) - scale * residual(g),
        "ridge": lambda g: (g.unit @ kernel + bias).max(axis=1),
        "ridge - residual/2": lambda g: (g.unit @ kernel + bias).max(axis=1) - residual(g) / 2,
        "agreement x ridge": lambda g: (m.agreed(g) * (g.unit @ kernel + bias)).sum(axis=1),
        "agreement x (cosine + ridge)/2": lambda g: (
            m.agreed(g) * (g.unit @ (directions + kernel) + bias) / 2
        ).sum(axis=1),
        "leave one landmark out": leave_one_out(m),
    }


def scores_with(m: Measured, unknown: Group) -> dict[str, Callable[[Group], Values]]:
    """Return the scores that learn from unknown images."""
    train, count = m.groups["train"], len(m.parents)
    kernel, bias = flat_regression(train.raw, train.label, count, unknown.raw)
    third = fit_known(train.raw, train.label, m.parents, unknown.raw, read=m.last)
    stats = _statistics(m, None)
    val = m.groups["val"]
    return {
        "ridge": lambda g: (g.unit @ kernel + bias).max(axis=1),
        "agreement x ridge": lambda g: (m.agreed(g) * (g.unit @ kernel + bias)).sum(axis=1),
        "known": lambda g: third.score(g.raw, m.probabilities(g)),
        "logistic": _logistic(stats, stats(val), stats(unknown)),
    }


def leave_one_out(m: Measured) -> Callable[[Group], Values]:
    """Fit a logistic score to validation images and to each landmark as if it were not known."""
    train = m.groups["train"]
    negatives = [
        _statistics(m, number)(train.only(train.label == number))
        for number in range(len(m.parents))
    ]
    whole = _statistics(m, None)
    return _logistic(whole, whole(m.groups["val"]), np.concatenate(negatives))


def _statistics(m: Measured, left_out: int | None) -> Callable[[Group], Values]:
    """Return agreement, known, largest cosine, ridge and nearest image, (N, 5)."""
    train = m.groups["train"]
    if left_out is not None:
        train = train.only(train.label != left_out)
    others = [number for number in range(len(m.parents)) if number != left_out]
    label = np.searchsorted(others, train.label)
    directions = mean_directions(train.raw, label, len(others))
    kernel, bias = flat_regression(train.raw, label, len(others), train.raw[:0])
    unit = train.unit

    def statistics(g: Group) -> Values:
        agreed = m.agreed(g)[:, others]  # without the landmark's own probability
        near = cosines(g.raw, directions)
        columns = [
            agreed.sum(axis=1),
            (agreed * near).sum(axis=1),
            near.max(axis=1),
            (g.unit @ kernel + bias).max(axis=1),
            (g.unit @ unit.T).max(axis=1),
        ]
        return np.stack(columns, axis=1)

    return statistics


def _logistic(
    statistics: Callable[[Group], Values], positive: Values, negative: Values
) -> Callable[[Group], Values]:
    """Return the log-odds of a regression with a small ridge; both sides weigh the same."""
    x = np.concatenate([positive, negative])
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-9
    sign = np.repeat([1.0, -1.0], [len(positive), len(negative)])
    weight = np.where(sign > 0, 1 / len(positive), 1 / len(negative)) * len(positive)
    x = _padded((x - mean) / spread)

    def loss(w: Values) -> tuple[float, Values]:
        z = sign * (x @ w)
        slope = -weight * sign / (1 + np.exp(z))
        value = float((weight * np.logaddexp(0, -z)).sum() + 0.15 * (w[:-1] ** 2).sum())
        return value, x.T @ slope + 0.3 * np.append(w[:-1], 0)

    w = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
    return lambda g: np.asarray(_padded((statistics(g) - mean) / spread) @ w)


def _leading(unit: Values) -> Values:
    """Return the leading directions of features, (LEADING, F)."""
    x = unit - unit.mean(axis=0)
    return np.asarray(np.linalg.eigh(x.T @ x)[1][:, ::-1][:, :LEADING].T)


def _precision(x: Values) -> Values:
    covariance = x.T @ x / len(x)
    spread = np.trace(covariance) / len(covariance)
    return np.asarray(np.linalg.inv(0.5 * covariance + 0.5 * spread * np.eye(len(covariance))))


def _squares(x: Values, precision: Values) -> Values:
    return np.asarray(((x @ precision) * x).sum(axis=1))


def _padded(x: Values) -> Values:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def _pruned(raw: Values, per_cent: float) -> Values:
    """Return features without the smallest of each image, scaled (Djurisic et al. 2022, ASH-S)."""
    kept = np.where(raw >= np.percentile(raw, per_cent, axis=1, keepdims=True), raw, 0)
    ratio = raw.sum(axis=1, keepdims=True) / np.maximum(kept.sum(axis=1, keepdims=True), 1e-9)
    return np.asarray(kept * np.exp(ratio))
