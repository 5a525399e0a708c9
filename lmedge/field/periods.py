"""The figures of a period, with intervals that count scenes, and those that a file knows itself."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DataError
from ..evaluation.intervals import NORMAL, wilson_interval
from ..model_file import ModelFile

Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeenImage:
    """One classified image: its scene, and what the file predicts."""

    burst: str
    landmark: str
    category: str
    known: bool
    probability: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldEstimate:
    """A mean or a share, 0..1, with its 95 % interval."""

    value: float
    interval: Interval

    def difference(self, other: FieldEstimate) -> Interval:
        """Return the interval of this one less another, of other images (MOVER).

        Zou and Donner, Statistics in Medicine 27 (2008); of two shares it is Newcombe's.
        """
        between = self.value - other.value
        low = math.hypot(self.value - self.interval[0], other.interval[1] - other.value)
        high = math.hypot(self.interval[1] - self.value, other.value - other.interval[0])
        return between - low, between + high


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldPeriod:
    """The figures of a time, or of the photographs to compare with.

    Attributes:
        name: The first day; the name of the photographs.
        images: Number of images.
        bursts: Scenes among them.
        unknown: Share of images that show no landmark that the file knows.
        confidence: Mean probability of the predicted landmark, of the known ones; None without any.
        labels: Share of each landmark among all images.
    """

    name: str
    images: int
    bursts: int
    unknown: FieldEstimate
    confidence: FieldEstimate | None
    labels: Mapping[str, FieldEstimate]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON; docs/formats.md names them."""
        return {
            "name": self.name,
            "images": self.images,
            "bursts": self.bursts,
            "unknown": dataclasses.asdict(self.unknown),
            "confidence": None if self.confidence is None else dataclasses.asdict(self.confidence),
            "labels": {name: dataclasses.asdict(one) for name, one in self.labels.items()},
        }


def period_of(name: str, images: Sequence[SeenImage]) -> FieldPeriod:
    """Return the figures of images. Raises DataError if there are none."""
    if not images:
        raise DataError(f"{name}: holds no image that can be read")
    bursts = len({one.burst for one in images})
    shown = Counter(one.landmark for one in images if one.known)
    return FieldPeriod(
        name=name,
        images=len(images),
        bursts=bursts,
        unknown=_share(sum(not one.known for one in images), len(images), bursts),
        confidence=_mean([one for one in images if one.known]),
        labels={label: _share(count, len(images), bursts) for label, count in shown.most_common()},
    )


def _share(count: int, images: int, bursts: int) -> FieldEstimate:
    """Return count / images, with the interval of so many scenes."""
    share = count / images
    low, high = wilson_interval(round(share * bursts), bursts)
    return FieldEstimate(value=share, interval=(min(low, share), max(high, share)))


def _mean(images: Sequence[SeenImage]) -> FieldEstimate | None:
    """Return the mean probability, with a normal interval over the means of the scenes."""
    if not images:
        return None
    scenes: dict[str, list[float]] = defaultdict(list)
    for one in images:
        scenes[one.burst].append(one.probability)
    means = [sum(values) / len(values) for values in scenes.values()]
    centre = sum(one.probability for one in images) / len(images)
    if len(means) < 2:
        return FieldEstimate(value=centre, interval=(0.0, 1.0))
    middle = sum(means) / len(means)
    variance = sum((value - middle) ** 2 for value in means) / (len(means) - 1)
    half = NORMAL * math.sqrt(variance / len(means))
    return FieldEstimate(value=centre, interval=(max(0.0, centre - half), min(1.0, centre + half)))


def own_reference(model: ModelFile) -> FieldPeriod | None:
    """Return the share of unknown images among the photographs of the file's own figures.

    They are those of its test part, otherwise those that its threshold was chosen on, of networks
    that had not learned them. None without either.
    """
    rejection, metrics = model.info.get("rejection"), model.info.get("metrics")
    try:
        name, kept = "test photographs of the file", float(rejection["kept"])  # type: ignore[index]
        count = int(metrics["test"]["file"]["landmark"]["n"])  # type: ignore[index]
    except (LookupError, TypeError, ValueError):
        try:
            name, kept = "photographs of the threshold", float(rejection["coverage"])  # type: ignore[index]
            count = int(rejection["known"])  # type: ignore[index]
        except (LookupError, TypeError, ValueError):
            return None
    if not (0 <= kept <= 1 and count > 0):
        return None
    return FieldPeriod(
        name=name,
        images=count,
        bursts=count,
        unknown=_share(round((1 - kept) * count), count, count),
        confidence=None,
        labels={},
    )
