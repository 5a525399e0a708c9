"""Drift: what a file predicts in the field over time, against photographs it was tested on.

Only the uniform random share of the collected images counts. All are classified anew, so that
images that another file collected are judged by this one. The images of a burst are one scene: an
interval counts bursts.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..classifier import Classifier
from ..errors import DataError
from ..evaluation.folders import scan
from ..evaluation.intervals import NORMAL, wilson_interval
from ..evaluation.listing import list_images
from ..model_file import ModelFile
from ..reading import decode_all
from .collected import CollectedImage, list_collected

DAY, WEEK, MONTH = "day", "week", "month"
PERIODS = (DAY, WEEK, MONTH)
NO_TIME = "no clock"
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldChange:
    """The newest period less what it is compared with; positive is worse for both figures."""

    figure: str
    value: float
    interval: Interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drift:
    """The periods of a folder, and what they are compared with.

    Attributes:
        file: Name of the .tflite file.
        sha256: Its digest.
        reference: The photographs; None if there are none to compare with.
        periods: In the order of time; images without a time are last.
        left_out: Collected images that are not of the random share.
        unreadable: Images and JSON files that cannot be used.
    """

    file: str
    sha256: str
    reference: FieldPeriod | None
    periods: Sequence[FieldPeriod]
    left_out: int
    unreadable: int

    @property
    def newest(self) -> FieldPeriod:
        """The newest period with a time; without any, the images without one."""
        timed = [one for one in self.periods if one.name != NO_TIME]
        return (timed or list(self.periods))[-1]

    def changes(self) -> list[FieldChange]:
        """Return how much worse the newest period is than the reference."""
        if self.reference is None:
            return []
        new, old = self.newest, self.reference
        found = [_change("share of unknown images", new.unknown, old.unknown)]
        if new.confidence is not None and old.confidence is not None:
            found.append(_change("fall of confidence", old.confidence, new.confidence))
        return found

    def worse(self, limit: float) -> list[FieldChange]:
        """Return the changes that exceed a limit beyond doubt."""
        return [one for one in self.changes() if one.interval[0] > limit]

    def as_dict(self) -> dict[str, Any]:
        """Return the content of drift.json."""
        return {
            "schema": 1,
            "file": self.file,
            "sha256": self.sha256,
            "reference": None if self.reference is None else self.reference.as_dict(),
            "periods": [one.as_dict() for one in self.periods],
            "changes": [dataclasses.asdict(one) for one in self.changes()],
            "left_out": self.left_out,
            "unreadable": self.unreadable,
        }


def measure_drift(
    classifier: Classifier,
    folder: Path,
    *,
    data: Path | None = None,
    part: str | None = None,
    period: str | None = None,
) -> Drift:
    """Classify the random share of a folder of collected images.

    Args:
        classifier: Of the file.
        folder: The folder of `lmedge camera --collect`, or a copy of it.
        data: Photographs to compare with, labelled or not; None takes what the file knows of its
            own test photographs.
        part: The part of these photographs.
        period: DAY, WEEK or MONTH; None chooses by the time from the first image to the last.

    Raises:
        DataError: There are no images of the random share.
    """
    found = list(list_collected(folder))
    images = [one for one in found if isinstance(one, CollectedImage)]
    drawn = sorted((one for one in images if one.is_random), key=lambda one: one.number)
    if not drawn:
        raise DataError(
            f"{folder}: holds no image of the random share, which alone measures the field; "
            "collect with --collect-one-in above 0"
        )
    bursts = {one.path: one.burst for one in drawn}
    seen = _classified(classifier, [one.path for one in drawn], bursts)
    kind = period or _period_of([day for one in drawn if (day := _day(one.time)) is not None])
    grouped: dict[str, list[SeenImage]] = defaultdict(list)
    for one in drawn:
        if one.path in seen:
            grouped[_name(_day(one.time), kind)].append(seen[one.path])
    if not grouped:
        raise DataError(f"{folder}: none of the {len(drawn)} random images can be read")
    order = sorted(grouped, key=lambda name: (name == NO_TIME, name))
    reference = own_reference(classifier.model)
    if data is not None:
        paths = [one.path for one in scan(data, part)] if data.is_dir() else list_images(data)
        reference = _summary(data.name, list(_classified(classifier, paths, {}).values()))
    return Drift(
        file=classifier.model.path.name,
        sha256=classifier.model.sha256,
        reference=reference,
        periods=[_summary(name, grouped[name]) for name in order],
        left_out=len(images) - len(drawn),
        unreadable=len(found) - len(images) + len(drawn) - len(seen),
    )


def _classified(
    classifier: Classifier, paths: Sequence[Path], bursts: Mapping[Path, str]
) -> dict[Path, SeenImage]:
    """Return the predictions of the images that can be read; without a burst, each is a scene."""
    found = {}
    for path, image in decode_all(paths, classifier.model.size):
        if isinstance(image, DataError):
            continue
        prediction = classifier.classify(image)
        found[path] = SeenImage(
            burst=bursts.get(path, str(path)),
            landmark=prediction.landmark,
            category=prediction.category,
            known=prediction.known,
            probability=prediction.landmark_probability,
        )
    return found


def _summary(name: str, images: Sequence[SeenImage]) -> FieldPeriod:
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


def _change(figure: str, high: FieldEstimate, low: FieldEstimate) -> FieldChange:
    return FieldChange(figure=figure, value=high.value - low.value, interval=high.difference(low))


def _day(time: str | None) -> datetime.date | None:
    try:
        return None if time is None else datetime.datetime.fromisoformat(time).date()
    except ValueError:
        return None


def _period_of(days: Iterable[datetime.date]) -> str:
    """Return the shortest period of which there are at most about 20."""
    ordered = sorted(days)
    span = (ordered[-1] - ordered[0]).days if ordered else 0
    return DAY if span <= 20 else WEEK if span <= 140 else MONTH


def _name(day: datetime.date | None, kind: str) -> str:
    """Return the first day of a day's period."""
    if day is None:
        return NO_TIME
    if kind == WEEK:
        day -= datetime.timedelta(days=day.weekday())
    return day.replace(day=1).isoformat() if kind == MONTH else day.isoformat()
